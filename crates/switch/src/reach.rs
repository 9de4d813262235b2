//! Whether anybody who has proven nothing can reach a line that costs money (GUARD-13): the configuration as a graph of
//! sources, contexts, names, routes and destinations, searched from every source at once, so that what is found first is the
//! shortest call. Each step asks the rules that decide about real calls ([`guard::admit`](ringfort_guard::admit), [`Router`]). Pure.

mod numbers;
mod weak;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Instant;

use ringfort_guard::{Authentication, BanSet, Context, Entry, Facts, Format, Reach, Verdict};

use crate::config::{Profile, SwitchConfig};
use crate::model::{Destination, Extension, ExtensionId, ProfileId, Site, TenantId, Trunk, TrunkId};
use crate::route::Router;
pub use weak::{Level, Weakness};

/// A place on the way of a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// Anybody who sends to a profile.
    Stranger {
        profile: ProfileId,
    },
    /// A call that comes by a trunk: whoever dialled it in the telephone network has proven nothing.
    Line {
        profile: ProfileId,
        trunk: TrunkId,
    },
    Context {
        tenant: TenantId,
        public: bool,
        caller: Caller,
        /// The door for lines that cost money is open.
        outside: bool,
    },
    Alias {
        tenant: TenantId,
        name: String,
    },
    Inbound {
        tenant: TenantId,
        route: String,
    },
    Extension(ExtensionId),
    Outbound {
        tenant: TenantId,
        route: String,
    },
    Trunk(TrunkId),
}

/// Who calls, where his rights depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    Guest,
    Line(TrunkId),
}

/// Where calls can go. The site is one; a test has others.
pub trait Ways {
    /// Where calls of people begin who have proven nothing.
    fn sources(&self) -> Vec<Node>;
    /// Where a call can be next.
    fn next(&self, from: &Node) -> Vec<Node>;
    /// In words.
    fn name(&self, node: &Node) -> String;
}

/// The shortest call to a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub trunk: TrunkId,
    pub nodes: Vec<Node>,
    /// Their names.
    pub words: Vec<String>,
}

impl Path {
    /// What the change is forced by: the trunk's name.
    pub fn name(&self) -> &str {
        self.words.last().map_or("", |word| word.strip_prefix("trunk ").unwrap_or(word))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" → "))
    }
}

/// The shortest call to each trunk that can be reached, the shortest of all first.
pub fn paths(ways: &impl Ways) -> Vec<Path> {
    let came_from = explore(ways, ways.sources());
    let mut found: Vec<Path> = Vec::new();
    for node in came_from.keys() {
        let Node::Trunk(trunk) = node else { continue };
        let mut nodes = vec![node.clone()];
        while let Some(Some(before)) = came_from.get(&nodes[nodes.len() - 1]) {
            nodes.push(before.clone());
        }
        nodes.reverse();
        let words = nodes.iter().map(|node| ways.name(node)).collect();
        found.push(Path { trunk: *trunk, nodes, words });
    }
    found.sort_by_key(|path| (path.nodes.len(), path.trunk));
    found
}

/// The extensions that can be rung from a source.
pub fn rung(ways: &impl Ways, source: &Node) -> BTreeSet<ExtensionId> {
    let came_from = explore(ways, vec![source.clone()]);
    came_from.keys().filter_map(|node| if let Node::Extension(id) = node { Some(*id) } else { None }).collect()
}

/// Breadth first; each node with the one before it.
fn explore(ways: &impl Ways, sources: Vec<Node>) -> BTreeMap<Node, Option<Node>> {
    let mut came_from: BTreeMap<Node, Option<Node>> = sources.iter().map(|node| (node.clone(), None)).collect();
    let mut queue: VecDeque<Node> = sources.into();
    while let Some(node) = queue.pop_front() {
        for next in ways.next(&node) {
            if !came_from.contains_key(&next) {
                came_from.insert(next.clone(), Some(node.clone()));
                queue.push_back(next);
            }
        }
    }
    came_from
}

/// What is found in a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// None of these may be.
    pub paths: Vec<Path>,
    /// What works as it is written and is easy to misuse.
    pub weak: Vec<Weakness>,
}

/// Looks at all of it. `now`: any time; nothing in it depends on it.
pub fn check(now: Instant, config: &SwitchConfig, site: &Site) -> Report {
    let ways = SiteWays { every_route: true, ..SiteWays::new(now, &config.profiles, site) };
    Report { paths: paths(&ways), weak: weak::weaknesses(config, site) }
}

/// The ways that a site has.
pub struct SiteWays<'a> {
    now: Instant,
    profiles: &'a [Profile],
    site: &'a Site,
    router: Router,
    bans: BanSet,
    /// An inbound route counts whether or not one before it takes all of its calls: what is not reached so is reached
    /// by no number at all.
    every_route: bool,
}

impl<'a> SiteWays<'a> {
    pub fn new(now: Instant, profiles: &'a [Profile], site: &'a Site) -> Self {
        // What a site has beside these leads nowhere: a new part of it is looked at here first.
        let Site { revision: _, tenants: _, extensions: _, trunks: _, outbound: _, inbound: _, aliases: _, rates: _ } =
            site;
        Self { now, profiles, site, router: Router::new(site), bans: BanSet::empty(), every_route: false }
    }

    fn profile(&self, id: ProfileId) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.id == id)
    }

    /// What the door of admission says to a caller of that profile: the context, and whether it opens towards trunks.
    fn door(&self, profile: ProfileId, authentication: Authentication) -> Option<(bool, bool)> {
        let entry = if self.profile(profile)?.kind.authenticates() { Entry::Internal } else { Entry::External };
        let admit = |mut reach: Reach| {
            let facts = Facts {
                source: std::net::Ipv4Addr::UNSPECIFIED.into(),
                entry,
                bans: &self.bans,
                allowed: None,
                rate: Verdict::Pass,
                format: Format::Good,
                authentication,
                confined: false,
            };
            ringfort_guard::admit(self.now, &facts, &mut reach).map(|(admitted, ())| admitted)
        };
        let inside = admit(Reach::Local).ok()?;
        let public = match inside.context() {
            Context::Public => true,
            Context::Internal => false,
        };
        Some((public, admit(Reach::Trunk).is_ok()))
    }

    fn follow(&self, tenant: TenantId, destination: &Destination) -> Option<Node> {
        match destination {
            Destination::Extension(number) => {
                let mut extensions = self.site.extensions.values();
                let here = |e: &&Extension| e.tenant == tenant && e.number == *number && e.enabled;
                extensions.find(here).map(|extension| Node::Extension(extension.id))
            }
            Destination::Reject(_) => None,
        }
    }

    /// Where a call goes on to from a phone: nowhere. What is added to an extension is looked at here first, whether it
    /// leads calls on, as a forward would.
    fn beyond(extension: &Extension) -> Vec<Node> {
        let Extension {
            id: _,
            tenant: _,
            number: _,
            name: _,
            credentials: _,
            srtp: _,
            max_calls: _,
            max_contacts: _,
            enabled: _,
            calling: _,
        } = extension;
        Vec::new()
    }

    fn in_context(&self, tenant: TenantId, public: bool, caller: Caller, outside: bool) -> Vec<Node> {
        let mut next = Vec::new();
        match caller {
            Caller::Guest => {
                let aliases = self.site.aliases.iter().filter(|alias| alias.tenant == tenant);
                let open = aliases.filter(|alias| self.router.alias(tenant, &alias.name, public).is_some());
                next.extend(open.map(|alias| Node::Alias { tenant, name: alias.name.clone() }));
            }
            Caller::Line(trunk) => {
                let all = || {
                    let mine = self.site.inbound.iter().filter(|r| r.tenant == tenant);
                    mine.filter(|r| r.trunk.is_none_or(|id| id == trunk)).map(|r| r.name.clone()).collect()
                };
                let settled = || numbers::routes_in(&self.router, self.site, tenant, trunk);
                let routes: Vec<String> = if self.every_route { all() } else { settled() };
                next.extend(routes.into_iter().map(|route| Node::Inbound { tenant, route }));
            }
        }
        if !public {
            let all = self.site.extensions.values().filter(|e| e.tenant == tenant && e.enabled);
            next.extend(all.map(|extension| Node::Extension(extension.id)));
        }
        if outside {
            let routes = self.site.outbound.iter().filter(|route| route.tenant == tenant);
            next.extend(routes.map(|route| Node::Outbound { tenant, route: route.name.clone() }));
        }
        next
    }

    fn enabled(&self, trunk: TrunkId) -> Option<&Trunk> {
        self.site.trunks.get(&trunk).filter(|trunk| trunk.enabled)
    }

    fn tenant_name(&self, id: TenantId) -> String {
        // One tenant alone need not be named.
        match self.site.tenants.iter().find(|tenant| tenant.id == id) {
            Some(tenant) if self.site.tenants.len() > 1 => format!(" of {}", tenant.name),
            Some(_) | None => String::new(),
        }
    }
}

impl Ways for SiteWays<'_> {
    fn sources(&self) -> Vec<Node> {
        let strangers = self.profiles.iter().map(|profile| Node::Stranger { profile: profile.id });
        let lines = self.site.trunks.values().filter(|trunk| trunk.enabled).flat_map(|trunk| {
            // A phone's profile knows no trunks; a registered trunk's calls come to any other one.
            let here = |profile: &&Profile| {
                let named = trunk.profile.as_ref().is_none_or(|name| *name == profile.name);
                !profile.kind.authenticates() && (named || trunk.credentials.is_some())
            };
            self.profiles.iter().filter(here).map(|profile| Node::Line { profile: profile.id, trunk: trunk.id })
        });
        strangers.chain(lines).collect()
    }

    fn next(&self, from: &Node) -> Vec<Node> {
        match from {
            Node::Stranger { profile } => {
                let Some((public, outside)) = self.door(*profile, Authentication::Missing) else { return Vec::new() };
                let context = |tenant| Node::Context { tenant, public, caller: Caller::Guest, outside };
                self.site.tenants.iter().map(|tenant| context(tenant.id)).collect()
            }
            Node::Line { profile, trunk } => {
                let Some(line) = self.enabled(*trunk) else { return Vec::new() };
                let Some((public, outside)) = self.door(*profile, Authentication::Proven) else { return Vec::new() };
                vec![Node::Context { tenant: line.tenant, public, caller: Caller::Line(*trunk), outside }]
            }
            Node::Context { tenant, public, caller, outside } => self.in_context(*tenant, *public, *caller, *outside),
            Node::Alias { tenant, name } => {
                let destination = self.router.alias(*tenant, name, false);
                destination.and_then(|destination| self.follow(*tenant, destination)).into_iter().collect()
            }
            Node::Inbound { tenant, route } => {
                let mut routes = self.site.inbound.iter();
                let route = routes.find(|r| r.tenant == *tenant && r.name == *route);
                route.and_then(|route| self.follow(*tenant, &route.to)).into_iter().collect()
            }
            Node::Extension(id) => self.site.extensions.get(id).map(Self::beyond).unwrap_or_default(),
            Node::Outbound { tenant, route } => {
                let mut routes = self.site.outbound.iter();
                let route = routes.find(|r| r.tenant == *tenant && r.name == *route);
                let trunks = route.into_iter().flat_map(|route| &route.trunks);
                trunks.filter(|id| self.enabled(**id).is_some()).map(|id| Node::Trunk(*id)).collect()
            }
            // It has left the house.
            Node::Trunk(_) => Vec::new(),
        }
    }

    fn name(&self, node: &Node) -> String {
        let profile = |id: &ProfileId| match self.profile(*id) {
            Some(profile) if profile.kind.authenticates() => format!("profile {} (internal)", profile.name),
            Some(profile) => format!("profile {} (external)", profile.name),
            None => format!("profile {}", id.0),
        };
        let trunk = |id: &TrunkId| self.site.trunks.get(id).map_or_else(|| id.to_string(), |trunk| trunk.name.clone());
        match node {
            Node::Stranger { profile: id } => format!("anybody → {}", profile(id)),
            Node::Line { profile: id, trunk: line } => {
                format!("anybody who calls a number of trunk {} → {}", trunk(line), profile(id))
            }
            Node::Context { tenant, public, .. } => {
                format!("context {}{}", if *public { "public" } else { "internal" }, self.tenant_name(*tenant))
            }
            Node::Alias { name, .. } => format!("alias {name}"),
            Node::Inbound { route, .. } => format!("inbound route {route}"),
            Node::Extension(id) => match self.site.extensions.get(id) {
                Some(extension) => format!("extension {}", extension.number),
                None => format!("extension {id}"),
            },
            Node::Outbound { route, .. } => format!("route {route}"),
            Node::Trunk(id) => format!("trunk {}", trunk(id)),
        }
    }
}
