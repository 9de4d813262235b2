//! A zone of a few lines, and a locator that asks it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ringfort_sip::Uri;
use ringfort_sip::locate::*;

/// Records by line: `OWNER TTL TYPE DATA…`, as in a zone file without its punctuation.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    pub records: Vec<Record>,
    /// RFC 2308: the SOA's lifetime for absent things.
    pub negative_ttl: Option<u32>,
    pub authenticated: bool,
    /// Names (all types) that the resolver fails for.
    pub broken: BTreeSet<(Name, RecordType)>,
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn record(line: &str) -> Record {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words[at].parse::<u16>().unwrap();
    let data = match words[2] {
        "NAPTR" => RecordData::Naptr(Naptr {
            order: number(3),
            preference: number(4),
            flags: words[5].trim_matches('"').to_owned(),
            services: words[6].trim_matches('"').to_owned(),
            regexp: words[7].trim_matches('"').to_owned(),
            replacement: name(words[8]),
        }),
        "SRV" => {
            RecordData::Srv(Srv { priority: number(3), weight: number(4), port: number(5), target: name(words[6]) })
        }
        "A" => RecordData::A(words[3].parse().unwrap()),
        "AAAA" => RecordData::Aaaa(words[3].parse().unwrap()),
        "CNAME" => RecordData::Cname(name(words[3])),
        other => panic!("{other}"),
    };
    Record { owner: name(words[0]), ttl: words[1].parse().unwrap(), data }
}

impl Zone {
    pub fn new(text: &str) -> Zone {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Zone { records: lines.map(record).collect(), negative_ttl: Some(300), ..Zone::default() }
    }

    /// As a recursive resolver answers: the aliases, then what is behind them.
    pub fn answer(&self, query: &Name, kind: RecordType) -> Answer {
        if self.broken.contains(&(query.clone(), kind)) {
            return Answer::Failed(QueryFailure::ServerFailure);
        }
        let is = |data: &RecordData| match data {
            RecordData::Naptr(_) => kind == RecordType::Naptr,
            RecordData::Srv(_) => kind == RecordType::Srv,
            RecordData::A(_) => kind == RecordType::A,
            RecordData::Aaaa(_) => kind == RecordType::Aaaa,
            RecordData::Cname(_) => false,
        };
        let mut owner = query.clone();
        let mut records: Vec<Record> = Vec::new();
        loop {
            let here: Vec<&Record> = self.records.iter().filter(|record| record.owner == owner).collect();
            records.extend(here.iter().filter(|record| is(&record.data)).map(|record| (*record).clone()));
            let alias = here.iter().find(|record| matches!(record.data, RecordData::Cname(_)));
            if let Some(record) = alias
                && !records.contains(record)
            {
                records.push((*record).clone());
                let RecordData::Cname(target) = &record.data else { unreachable!() };
                owner = target.clone();
                continue;
            }
            let below = format!(".{owner}");
            let exists = |record: &Record| record.owner == owner || record.owner.as_str().ends_with(&below);
            let no_such_name = !self.records.iter().any(exists);
            let (negative_ttl, authenticated) = (self.negative_ttl, self.authenticated);
            if records.is_empty() {
                return Answer::Absent { no_such_name, negative_ttl, authenticated };
            }
            let whole = records.iter().any(|record| is(&record.data));
            return Answer::Records {
                records,
                no_such_name: no_such_name && !whole,
                negative_ttl: if whole { None } else { negative_ttl },
                authenticated,
            };
        }
    }
}

/// A locator and its zone, in a time of their own.
pub struct World {
    pub locator: Locator,
    pub zone: Zone,
    pub now: Instant,
    /// What was asked, in order.
    pub asked: Vec<(Name, RecordType)>,
}

#[allow(clippy::disallowed_methods, reason = "any instant will do to start from")]
pub fn start() -> Instant {
    Instant::now()
}

pub fn request(uri: &str) -> Request {
    Request::of_uri(&Uri::parse(uri).unwrap()).unwrap()
}

impl World {
    pub fn new(zone: &str) -> World {
        World::with(zone, Settings::default(), 1)
    }

    pub fn with(zone: &str, settings: Settings, seed: u8) -> World {
        World { locator: Locator::new(settings, [seed; 32]), zone: Zone::new(zone), now: start(), asked: Vec::new() }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.locator.handle_timeout(self.now);
    }

    /// Answers what is asked until the look-up is done.
    pub fn find(&mut self, request: Request) -> Located {
        let id = self.locator.locate(self.now, request);
        self.answer();
        let located = self.locator.poll_located().expect("everything was answered");
        assert_eq!(located.id, id);
        assert!(self.locator.poll_located().is_none());
        assert_eq!(self.locator.sizes()[2..], [0, 0], "nothing is left running");
        assert_eq!(self.locator.poll_timeout(), None);
        located
    }

    /// The same for a number beneath `e164.arpa`.
    pub fn number(&mut self, number: &str) -> Resolved {
        let request = NumberRequest::new(number, &name("e164.arpa")).unwrap();
        let id = self.locator.resolve_number(self.now, request);
        self.answer();
        let resolved = self.locator.poll_resolved().expect("everything was answered");
        assert_eq!(resolved.id, id);
        assert_eq!(self.locator.sizes()[2..], [0, 0], "nothing is left running");
        resolved
    }

    fn answer(&mut self) {
        while let Some(query) = self.locator.poll_query() {
            self.asked.push((query.name.clone(), query.kind));
            let answer = self.zone.answer(&query.name, query.kind);
            self.locator.handle_answer(self.now, query.id, answer);
        }
    }

    pub fn locate(&mut self, uri: &str) -> Located {
        self.find(request(uri))
    }

    /// `TRANSPORT ADDRESS` of each target.
    pub fn targets(&mut self, uri: &str) -> Vec<String> {
        show(&self.locate(uri))
    }
}

pub fn show(located: &Located) -> Vec<String> {
    let targets = located.result.as_ref().unwrap_or_else(|error| panic!("{error}"));
    targets.left().map(|target| format!("{} {}", target.transport, target.address)).collect()
}
