//! What a domain publishes, as a name server answered: records by name and type, aliases, failures.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ringfort_net::dns::DnsClient;
use ringfort_sip::locate::{Answer, Name, Naptr, RecordData, RecordType, Srv};

/// For each round of questions.
const PATIENCE: Duration = Duration::from_secs(4);
/// More than that no domain makes us ask at once.
const MAX_QUESTIONS: usize = 200;

/// What the DNS answered.
#[derive(Clone, Debug, Default)]
pub struct Seen(pub BTreeMap<(Name, RecordType), Answer>);

impl Seen {
    pub fn ask(&mut self, questions: &[(Name, RecordType)], client: &mut DnsClient) {
        let new: BTreeSet<_> = questions.iter().filter(|question| !self.0.contains_key(question)).cloned().collect();
        let new: Vec<_> = new.into_iter().take(MAX_QUESTIONS).collect();
        let answers = client.ask(&new, PATIENCE);
        self.0.extend(new.into_iter().zip(answers));
    }

    /// Where the records that were seen point to.
    pub fn leads(&self, domain: &Name) -> Vec<(Name, RecordType)> {
        let mut leads = Vec::new();
        for (naptr, _) in self.naptr(domain) {
            leads.push((naptr.replacement.clone(), RecordType::Srv));
        }
        for ((name, kind), _) in self.0.iter().filter(|((_, kind), _)| *kind == RecordType::Srv) {
            leads.extend(
                self.srv(name).iter().filter(|(srv, _)| !srv.target.is_root()).flat_map(|(srv, _)| both(&srv.target)),
            );
            leads.extend(self.alias(name, *kind).map(|target| (target, *kind)));
        }
        for (name, kind) in self.0.keys().filter(|(_, kind)| matches!(kind, RecordType::A | RecordType::Aaaa)) {
            leads.extend(self.alias(name, *kind).map(|target| (target, *kind)));
        }
        leads
    }

    /// The data of a type in an answer, wherever aliases within it lead, with its TTL.
    pub fn data(&self, name: &Name, kind: RecordType) -> Vec<(&RecordData, u32)> {
        let Some(Answer::Records { records, .. }) = self.0.get(&(name.clone(), kind)) else { return Vec::new() };
        let own: Vec<_> = records
            .iter()
            .filter(|record| !matches!(record.data, RecordData::Cname(_)))
            .map(|record| (&record.data, record.ttl))
            .collect();
        match self.alias(name, kind) {
            Some(target) if own.is_empty() && target != *name => {
                let Some(Answer::Records { records, .. }) = self.0.get(&(target, kind)) else { return own };
                let found = records.iter().filter(|record| !matches!(record.data, RecordData::Cname(_)));
                found.map(|record| (&record.data, record.ttl)).collect()
            }
            _ => own,
        }
    }

    pub fn naptr(&self, name: &Name) -> Vec<(&Naptr, u32)> {
        let data = self.data(name, RecordType::Naptr);
        data.into_iter()
            .filter_map(|(data, ttl)| if let RecordData::Naptr(naptr) = data { Some((naptr, ttl)) } else { None })
            .collect()
    }

    pub fn srv(&self, name: &Name) -> Vec<(&Srv, u32)> {
        let data = self.data(name, RecordType::Srv);
        data.into_iter()
            .filter_map(|(data, ttl)| if let RecordData::Srv(srv) = data { Some((srv, ttl)) } else { None })
            .collect()
    }

    pub fn addresses(&self, name: &Name) -> BTreeMap<IpAddr, u32> {
        let mut found = BTreeMap::new();
        for kind in [RecordType::A, RecordType::Aaaa] {
            for (data, ttl) in self.data(name, kind) {
                match data {
                    RecordData::A(ip) => found.insert(IpAddr::V4(*ip), ttl),
                    RecordData::Aaaa(ip) => found.insert(IpAddr::V6(*ip), ttl),
                    RecordData::Naptr(_) | RecordData::Srv(_) | RecordData::Cname(_) => None,
                };
            }
        }
        found
    }

    /// The end of the aliases in the answer, where the name is one.
    pub fn alias(&self, name: &Name, kind: RecordType) -> Option<Name> {
        let Some(Answer::Records { records, .. }) = self.0.get(&(name.clone(), kind)) else { return None };
        let mut end = None;
        let mut at = name;
        for _ in 0..8 {
            let next = records.iter().filter(|record| record.owner == *at).find_map(|record| match &record.data {
                RecordData::Cname(target) => Some(target),
                RecordData::Naptr(_) | RecordData::Srv(_) | RecordData::A(_) | RecordData::Aaaa(_) => None,
            });
            let Some(next) = next else { break };
            (at, end) = (next, Some(next.clone()));
        }
        end
    }

    /// Whether nobody knows.
    pub fn failed(&self, name: &Name, kind: RecordType) -> bool {
        matches!(self.0.get(&(name.clone(), kind)), Some(Answer::Failed(_)))
    }
}

/// The questions for a host's addresses.
pub fn both(host: &Name) -> [(Name, RecordType); 2] {
    [(host.clone(), RecordType::A), (host.clone(), RecordType::Aaaa)]
}
