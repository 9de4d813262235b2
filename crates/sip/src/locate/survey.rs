//! The procedure of RFC 3263 §4 over what is known so far. It is run anew with each answer: it either comes to the end or
//! names the questions that are open. So it reads as the RFC does, and no state is kept between the steps.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::Settings;
use super::name::Name;
use super::order::{self, interleave, order_srv, service_prefix};
use super::record::{Contents, Naptr, RecordType, RrSet, Srv};
use super::request::{Destination, Request};
use super::target::{LocateError, Note, Target, Why};
use crate::flow::Transport;

/// No more hosts of a domain are looked up.
const MAX_HOSTS: usize = 16;
/// No longer list of targets is made.
const MAX_TARGETS: usize = 64;

/// How far it came.
pub(super) enum Progress {
    /// These are open. `targets` holds what is known already.
    Open {
        questions: Vec<(Name, RecordType)>,
        targets: Vec<Target>,
    },
    Done(Result<Vec<Target>, LocateError>),
}

pub(super) struct Survey<'a, F> {
    pub(super) request: &'a Request,
    pub(super) settings: &'a Settings,
    /// Makes the draw by weight the same in every run.
    pub(super) seed: u64,
    /// What is known of a name and type.
    pub(super) known: F,
    pub(super) open: Vec<(Name, RecordType)>,
    pub(super) notes: Vec<Note>,
}

/// An SRV name to ask, and how it was come by.
struct Lead {
    transport: Transport,
    name: Name,
    naptr: Option<(Arc<Naptr>, Arc<RrSet>)>,
}

/// A host to ask for addresses.
struct Host {
    transport: Transport,
    name: Name,
    port: u16,
    naptr: Option<(Arc<Naptr>, Arc<RrSet>)>,
    srv: Option<(Name, Arc<Srv>, Arc<RrSet>)>,
}

impl<F: FnMut(&Name, RecordType) -> Option<Arc<RrSet>>> Survey<'_, F> {
    pub(super) fn run(&mut self) -> Progress {
        if self.request.maddr_ignored {
            self.note(Note::MaddrIgnored);
        }
        let in_use = self.in_use();
        // RFC 3263 §4.1: what the URI names; else for an address or with a port UDP, for sips: TLS.
        let default = if self.request.secure { Transport::Tls } else { Transport::Udp };
        let default = if in_use.contains(&default) { Some(default) } else { in_use.first().copied() };
        let transport = match self.request.transport {
            Some(named) if !in_use.contains(&named) => None,
            Some(named) => Some(named),
            None => default,
        };
        let Some(transport) = transport else { return Progress::Done(Err(LocateError::NoTransport)) };
        let request = self.request;
        let name = match &request.host {
            Destination::Address(ip) => return Progress::Done(Ok(vec![self.numeric(*ip, transport)])),
            Destination::Name(name) => name,
        };
        let host = |transport: Transport, port: Option<u16>| Host {
            transport,
            name: name.clone(),
            port: port.unwrap_or(transport.default_port()),
            naptr: None,
            srv: None,
        };
        if request.port.is_some() {
            return self.addresses(vec![host(transport, request.port)]);
        }
        let leads = match request.transport {
            Some(named) => self.srv_leads(name, &[named]),
            None => match self.naptr_leads(name, &in_use) {
                None => return self.open(Vec::new()),
                Some(leads) if !leads.is_empty() => leads,
                Some(_) => self.srv_leads(name, &in_use),
            },
        };
        // Where SRV records are wanting, the transport of the best rule stays (RFC 3263 §4.2).
        let fallback = leads.iter().find(|lead| lead.naptr.is_some()).map_or(transport, |lead| lead.transport);
        match self.hosts(&leads) {
            Err(error) => Progress::Done(Err(error)),
            Ok(hosts) if hosts.is_empty() && self.open.is_empty() => self.addresses(vec![host(fallback, None)]),
            Ok(hosts) => self.addresses(hosts),
        }
    }

    /// Ours that may be used, those preferred first.
    fn in_use(&self) -> Vec<Transport> {
        let own = &self.settings.transports;
        let asked = if self.request.transports.is_empty() { own } else { &self.request.transports };
        let allowed =
            |transport: &&Transport| own.contains(transport) && (transport.is_secure() || !self.request.secure);
        asked.iter().filter(allowed).copied().collect()
    }

    fn numeric(&self, ip: IpAddr, transport: Transport) -> Target {
        let port = self.request.port.unwrap_or(transport.default_port());
        Target {
            transport,
            address: SocketAddr::new(ip, port),
            server_name: None,
            why: Why::default(),
            expires: None,
            authenticated: false,
        }
    }

    /// Once, though several ways may lead to the same host.
    fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// What is known, or a question.
    fn ask(&mut self, name: &Name, kind: RecordType) -> Option<Arc<RrSet>> {
        let found = (self.known)(name, kind);
        if found.is_none() && !self.open.iter().any(|(other, of)| other == name && *of == kind) {
            self.open.push((name.clone(), kind));
        }
        found
    }

    fn open(&mut self, targets: Vec<Target>) -> Progress {
        Progress::Open { questions: std::mem::take(&mut self.open), targets }
    }

    /// RFC 3263 §4.1. `None`: not answered yet. Empty: no rule for us.
    fn naptr_leads(&mut self, name: &Name, in_use: &[Transport]) -> Option<Vec<Lead>> {
        if !self.settings.naptr {
            return Some(Vec::new());
        }
        let found = self.ask(name, RecordType::Naptr)?;
        let records = match &found.contents {
            Contents::Naptr(records) => records,
            Contents::Failed(failure) => {
                // A broken name server on the way must not cost the call: SRV records of the same domain have to lead
                // to the same place (§4.1).
                self.note(Note::NaptrUnanswered(*failure));
                return Some(Vec::new());
            }
            Contents::Absent { .. } | Contents::Srv(_) | Contents::Addresses(_) => return Some(Vec::new()),
        };
        let notes = &mut self.notes;
        let rules = order::rules(records, self.request.secure, in_use, |naptr, why| {
            notes.push(Note::RuleSkipped { naptr: Arc::clone(naptr), why });
        });
        let lead = |(transport, naptr): (Transport, &Arc<Naptr>)| Lead {
            transport,
            name: naptr.replacement.clone(),
            naptr: Some((Arc::clone(naptr), Arc::clone(&found))),
        };
        Some(rules.into_iter().map(lead).collect())
    }

    /// SRV names of these transports (RFC 3263 §4.1 without NAPTR, §4.2 with a transport).
    fn srv_leads(&self, name: &Name, transports: &[Transport]) -> Vec<Lead> {
        let lead = |transport: &Transport| {
            // A name without room for the prefix has no such records.
            let name = name.prefixed(service_prefix(*transport)?).ok()?;
            Some(Lead { transport: *transport, name, naptr: None })
        };
        transports.iter().filter_map(lead).collect()
    }

    /// The hosts that SRV records name, in order. Empty where there are no SRV records, or none yet.
    fn hosts(&mut self, leads: &[Lead]) -> Result<Vec<Host>, LocateError> {
        let mut hosts = Vec::new();
        let mut failed = None;
        let mut refused = false;
        for (index, lead) in leads.iter().enumerate() {
            let Some(found) = self.ask(&lead.name, RecordType::Srv) else { continue };
            match &found.contents {
                Contents::Srv(records) => {
                    let mut rng = ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(index as u64));
                    let ordered = order_srv(records, &mut rng);
                    if ordered.is_empty() {
                        refused = true;
                        self.note(Note::NoService(lead.name.clone()));
                    }
                    hosts.extend(ordered.into_iter().map(|srv| Host {
                        transport: lead.transport,
                        name: srv.target.clone(),
                        port: srv.port,
                        naptr: lead.naptr.clone(),
                        srv: Some((lead.name.clone(), srv, Arc::clone(&found))),
                    }));
                }
                Contents::Failed(failure) => {
                    self.note(Note::SrvUnanswered { name: lead.name.clone(), failure: *failure });
                    failed = Some(*failure);
                }
                Contents::Absent { .. } | Contents::Naptr(_) | Contents::Addresses(_) => {
                    if lead.naptr.is_some() {
                        self.note(Note::NoSrvBehindNaptr(lead.name.clone()));
                    }
                }
            }
        }
        if hosts.is_empty() && self.open.is_empty() {
            // No word about SRV records is not the word that there are none: the addresses of the domain may be those
            // of its web server.
            if let Some(failure) = failed {
                return Err(LocateError::Unanswered(failure));
            }
            if refused {
                return Err(LocateError::NoService);
            }
        }
        if hosts.len() > MAX_HOSTS {
            hosts.truncate(MAX_HOSTS);
            self.note(Note::TooMany(MAX_HOSTS));
        }
        Ok(hosts)
    }

    /// RFC 3263 §4.2: the addresses of each host, in its turn.
    fn addresses(&mut self, hosts: Vec<Host>) -> Progress {
        let mut targets: Vec<Target> = Vec::new();
        let mut failed = None;
        let mut nowhere = true;
        for host in hosts {
            let families = self.settings.families;
            let v6 = if families.v6() { self.ask(&host.name, RecordType::Aaaa) } else { None };
            let v4 = if families.v4() { self.ask(&host.name, RecordType::A) } else { None };
            let mut any = false;
            for found in [&v6, &v4].into_iter().flatten() {
                match &found.contents {
                    Contents::Addresses(_) => any = true,
                    Contents::Failed(failure) => {
                        failed = Some(*failure);
                        self.note(Note::AddressUnanswered { name: host.name.clone(), failure: *failure });
                    }
                    Contents::Absent { no_such_name } => nowhere &= *no_such_name,
                    Contents::Naptr(_) | Contents::Srv(_) => {}
                }
            }
            let answered = v6.is_some() == families.v6() && v4.is_some() == families.v4();
            if !any {
                if answered {
                    self.note(Note::NoAddress(host.name.clone()));
                }
                continue;
            }
            let alias = [&v6, &v4].into_iter().flatten().any(|found| !found.aliases.is_empty());
            if host.srv.is_some() && alias {
                self.note(Note::TargetIsAlias(host.name.clone()));
            }
            self.targets_of(&host, v6.as_deref(), v4.as_deref(), &mut targets);
        }
        if targets.len() > MAX_TARGETS {
            targets.truncate(MAX_TARGETS);
            self.note(Note::TooMany(MAX_TARGETS));
        }
        if !self.open.is_empty() {
            return self.open(targets);
        }
        Progress::Done(match (targets.is_empty(), failed) {
            (false, _) => Ok(targets),
            (true, Some(failure)) => Err(LocateError::Unanswered(failure)),
            (true, None) if nowhere => Err(LocateError::NoSuchName),
            (true, None) => Err(LocateError::NoAddress),
        })
    }

    fn targets_of(&self, host: &Host, v6: Option<&RrSet>, v4: Option<&RrSet>, targets: &mut Vec<Target>) {
        fn addresses(found: Option<&RrSet>) -> &[IpAddr] {
            match found.map(|found| &found.contents) {
                Some(Contents::Addresses(addresses)) => addresses,
                _ => &[],
            }
        }
        let way: Vec<&RrSet> =
            [host.naptr.as_ref().map(|(_, set)| &**set), host.srv.as_ref().map(|(_, _, set)| &**set)]
                .into_iter()
                .flatten()
                .collect();
        let server_name = match &self.request.host {
            Destination::Name(name) if host.transport.is_secure() => Some(name.shared()),
            Destination::Name(_) | Destination::Address(_) => None,
        };
        for ip in interleave(addresses(v6), addresses(v4), self.settings.families) {
            let address = SocketAddr::new(ip, host.port);
            if targets.iter().any(|target| target.address == address && target.transport == host.transport) {
                continue;
            }
            let own = if ip.is_ipv4() { v4 } else { v6 };
            let sets = || way.iter().copied().chain(own);
            targets.push(Target {
                transport: host.transport,
                address,
                server_name: server_name.clone(),
                why: Why {
                    naptr: host.naptr.as_ref().map(|(naptr, _)| Arc::clone(naptr)),
                    srv: host.srv.as_ref().map(|(name, srv, _)| (name.clone(), Arc::clone(srv))),
                    host: Some(host.name.clone()),
                },
                expires: sets().map(|set| set.expires).min(),
                authenticated: sets().all(|set| set.authenticated),
            });
        }
    }
}
