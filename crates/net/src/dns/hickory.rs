//! The real resolver: hickory's pool of name servers, and what it says in our words. Its cache is not used: `sip::locate`
//! has one with the rules that SIP needs, and wants the records as they came.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts, ServerOrderingStrategy};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle as _, FirstAnswer as _};
use hickory_resolver::net::{self, NetError, NoRecords, RetryDnsHandle};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, Message, ResponseCode};
use hickory_resolver::proto::rr::{self, RData};
use hickory_resolver::{Hosts, NameServerPool, PoolContext, TlsConfig, system_conf};
use ringfort_sip::locate::{Answer, Name, Naptr, QueryFailure, Record, RecordData, RecordType, Srv};

use super::{DnsConfig, DnsError, Resolver};

/// How long an entry of `/etc/hosts` or the address of `localhost` is good for, in seconds.
const LOCAL_TTL: u32 = 60;

/// Asks the configured name servers, or the system's.
pub struct SystemResolver {
    pool: RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>,
    options: DnsRequestOptions,
    /// Of the system, where its name servers are asked.
    hosts: Option<Hosts>,
    /// Whether what the server says about DNSSEC can be believed: the way to it has to be safe (RFC 4035 §4.9.3), and the
    /// only one that is known to be is the one within the machine.
    believe_authenticated: bool,
}

impl SystemResolver {
    /// # Errors
    /// No servers are configured, and the system has none that can be read.
    pub fn new(config: &DnsConfig) -> Result<SystemResolver, DnsError> {
        let (servers, hosts) = if config.servers.is_empty() {
            let (system, _) = system_conf::read_system_conf().map_err(|error| DnsError::System(error.to_string()))?;
            let servers: Vec<SocketAddr> =
                system.name_servers().iter().map(|server| SocketAddr::new(server.ip, 53)).collect();
            // A machine without the file has no entries in it.
            (servers, Some(Hosts::from_system().unwrap_or_default()))
        } else {
            (config.servers.clone(), None)
        };
        if servers.is_empty() {
            return Err(DnsError::System("it names none".into()));
        }
        let mut options = ResolverOpts::default();
        options.timeout = config.timeout;
        options.attempts = config.attempts;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        // Two servers at a time: one that is silent costs nothing.
        options.num_concurrent_reqs = 2;
        // Spelling that has to come back as it was sent is harder to forge.
        options.case_randomization = true;
        let mut request = DnsRequestOptions::default();
        request.case_randomization = true;
        let tls = TlsConfig::new().map_err(|error| DnsError::System(error.to_string()))?;
        let context = Arc::new(PoolContext::new(options, tls));
        let pool =
            NameServerPool::from_config(servers.iter().map(name_server), context, TokioRuntimeProvider::default());
        Ok(SystemResolver {
            pool: RetryDnsHandle::new(pool, config.attempts.saturating_sub(1)),
            options: request,
            hosts,
            believe_authenticated: servers.iter().all(|server| server.ip().is_loopback()),
        })
    }

    /// What needs no name server.
    fn local(&self, name: &Name, kind: RecordType, query: &hickory_resolver::proto::op::Query) -> Option<Answer> {
        let addresses = |addresses: Vec<IpAddr>| {
            let data = |ip| match ip {
                IpAddr::V4(ip) => RecordData::A(ip),
                IpAddr::V6(ip) => RecordData::Aaaa(ip),
            };
            let record = |ip| Record { owner: name.clone(), ttl: LOCAL_TTL, data: data(ip) };
            let records = addresses.into_iter().map(record).collect();
            Answer::Records { records, no_such_name: false, negative_ttl: None, authenticated: false }
        };
        if let Some(found) = self.hosts.as_ref().and_then(|hosts| hosts.lookup_static_host(query)) {
            return Some(addresses(found.answers().iter().filter_map(|record| record.data.ip_addr()).collect()));
        }
        // RFC 6761 §6.3: never asked of a name server.
        name.is_localhost().then(|| match kind {
            RecordType::A => addresses(vec![Ipv4Addr::LOCALHOST.into()]),
            RecordType::Aaaa => addresses(vec![Ipv6Addr::LOCALHOST.into()]),
            RecordType::Naptr | RecordType::Srv => {
                Answer::Absent { no_such_name: false, negative_ttl: Some(LOCAL_TTL), authenticated: false }
            }
        })
    }
}

impl Resolver for SystemResolver {
    async fn resolve(&self, name: &Name, kind: RecordType) -> Answer {
        let Ok(asked) = rr::Name::from_ascii(format!("{}.", name.as_str())) else {
            return Answer::Failed(QueryFailure::Malformed);
        };
        let kind_asked = match kind {
            RecordType::Naptr => rr::RecordType::NAPTR,
            RecordType::Srv => rr::RecordType::SRV,
            RecordType::A => rr::RecordType::A,
            RecordType::Aaaa => rr::RecordType::AAAA,
        };
        let query = hickory_resolver::proto::op::Query::query(asked, kind_asked);
        if let Some(answer) = self.local(name, kind, &query) {
            return answer;
        }
        let mut request = DnsRequest::from_query(query, self.options);
        // RFC 6840 §5.7: we would like to know whether it is authenticated.
        request.metadata.authentic_data = true;
        match self.pool.send(request).first_answer().await {
            Ok(response) => {
                let negative_ttl = response.negative_ttl();
                records(&response, negative_ttl, self.believe_authenticated)
            }
            Err(error) => failure(error),
        }
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())])
}

fn records(response: &Message, negative_ttl: Option<u32>, believe_authenticated: bool) -> Answer {
    // A record whose name or contents SIP cannot use is as good as none.
    let record =
        |record: &rr::Record| Some(Record { owner: name(&record.name)?, ttl: record.ttl, data: data(&record.data)? });
    Answer::Records {
        records: response.answers.iter().filter_map(record).collect(),
        no_such_name: response.metadata.response_code == ResponseCode::NXDomain,
        negative_ttl,
        authenticated: believe_authenticated && response.metadata.authentic_data,
    }
}

fn data(data: &RData) -> Option<RecordData> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match data {
        RData::A(address) => RecordData::A(address.0),
        RData::AAAA(address) => RecordData::Aaaa(address.0),
        RData::CNAME(target) => RecordData::Cname(name(&target.0)?),
        RData::SRV(srv) => RecordData::Srv(Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: name(&srv.target)?,
        }),
        RData::NAPTR(naptr) => RecordData::Naptr(Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            services: text(&naptr.services),
            regexp: text(&naptr.regexp),
            replacement: name(&naptr.replacement)?,
        }),
        // Signatures and the like.
        _ => return None,
    })
}

fn name(name: &rr::Name) -> Option<Name> {
    Name::parse(&name.to_ascii()).ok()
}

fn failure(error: NetError) -> Answer {
    Answer::Failed(match error {
        NetError::Dns(net::DnsError::NoRecordsFound(NoRecords { response_code, negative_ttl, .. })) => {
            return Answer::Absent {
                no_such_name: response_code == ResponseCode::NXDomain,
                negative_ttl,
                authenticated: false,
            };
        }
        NetError::Dns(net::DnsError::ResponseCode(ResponseCode::Refused)) => QueryFailure::Refused,
        NetError::Dns(net::DnsError::ResponseCode(_)) => QueryFailure::ServerFailure,
        NetError::Timeout => QueryFailure::Timeout,
        NetError::Busy => QueryFailure::Busy,
        NetError::Io(_) | NetError::NoConnections => QueryFailure::Unreachable,
        // The list of causes is open.
        _ => QueryFailure::Malformed,
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use ringfort_sip::locate::{Answer, Name, QueryFailure, RecordData, RecordType};

    use crate::dns::{DnsClient, DnsConfig};

    /// A name server of a few lines on a loopback port: `reply` makes the answer of the query's head (12 octets) and its
    /// question.
    fn client(reply: impl Fn(&[u8], &[u8]) -> Vec<u8> + Send + 'static) -> DnsClient {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let query = &buffer[..len];
                // One question: a name, then type and class.
                let end = 12 + query[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
                socket.send_to(&reply(&query[..12], &query[12..end]), from).unwrap();
            }
        });
        let config = DnsConfig { servers: vec![server], timeout: Duration::from_millis(400), ..DnsConfig::default() };
        DnsClient::new(&config).unwrap()
    }

    /// QR, RD and RA are set, with the given further bits and RCODE; `answer` is appended.
    fn response(head: &[u8], question: &[u8], bits: u8, answer: &[u8]) -> Vec<u8> {
        let answers = u8::from(!answer.is_empty());
        let head = [head[0], head[1], 0x81, 0x80 | bits, 0, 1, 0, answers, 0, 0, 0, 0];
        [&head[..], question, answer].concat()
    }

    /// The owner by a pointer to the question, A, IN, 77 s, 192.0.2.7.
    const A: &[u8] = &[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 77, 0, 4, 192, 0, 2, 7];
    const AUTHENTICATED: u8 = 0x20;

    fn ask(client: &mut DnsClient) -> Answer {
        let question = (Name::parse("Host.Example.org").unwrap(), RecordType::A);
        client.ask(&[question], Duration::from_secs(3)).remove(0)
    }

    #[test]
    fn rfc4035_3_2_3_the_word_of_a_resolver_on_this_machine_about_dnssec_is_asked_for_and_passed_on() {
        for bits in [AUTHENTICATED, 0] {
            let mut client = client(move |head, question| {
                // RFC 6840 §5.7. Without it the answer is none that anybody waits for.
                assert_eq!(head[3] & AUTHENTICATED, AUTHENTICATED, "the AD bit of the query");
                response(head, question, bits, A)
            });
            let Answer::Records { records, authenticated, .. } = ask(&mut client) else { panic!("records") };
            assert_eq!(authenticated, bits == AUTHENTICATED);
            assert_eq!((records[0].owner.as_str(), records[0].ttl), ("host.example.org", 77));
            assert_eq!(records[0].data, RecordData::A([192, 0, 2, 7].into()));
        }
    }

    #[test]
    fn an_answer_that_does_not_repeat_the_spelling_of_the_question_is_not_believed() {
        let mut client = client(|head, question| {
            let (name, rest) = question.split_at(question.len() - 4);
            let other: Vec<u8> = name.iter().map(|b| if b.is_ascii_alphabetic() { b ^ 0x20 } else { *b }).collect();
            response(head, &[&other[..], rest].concat(), 0, A)
        });
        assert!(matches!(ask(&mut client), Answer::Failed(_)));
    }

    #[test]
    fn each_way_to_get_no_records_has_its_own_answer() {
        for (rcode, expected) in [
            (0, Answer::Absent { no_such_name: false, negative_ttl: None, authenticated: false }),
            (2, Answer::Failed(QueryFailure::ServerFailure)),
            (3, Answer::Absent { no_such_name: true, negative_ttl: None, authenticated: false }),
            (5, Answer::Failed(QueryFailure::Refused)),
        ] {
            let mut client = client(move |head, question| response(head, question, rcode, &[]));
            assert_eq!(ask(&mut client), expected, "RCODE {rcode}");
        }
    }

    #[test]
    fn a_name_server_that_is_not_there_ends_in_a_failure_within_the_time_that_is_given() {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = DnsConfig { servers: vec![free], timeout: Duration::from_millis(300), ..DnsConfig::default() };
        let mut client = DnsClient::new(&config).unwrap();
        let answer = ask(&mut client);
        let failure = [QueryFailure::Unreachable, QueryFailure::Timeout].map(Answer::Failed);
        assert!(failure.contains(&answer), "{answer:?}");
    }

    #[test]
    fn rfc6761_6_3_localhost_is_known_without_a_name_server() {
        let mut client = client(|_, _| panic!("nobody is asked"));
        let kinds = [RecordType::A, RecordType::Aaaa, RecordType::Srv];
        let questions = kinds.map(|kind| (Name::parse("phone.localhost").unwrap(), kind));
        let answers = client.ask(&questions, Duration::from_secs(3));
        let data = |answer: &Answer| match answer {
            Answer::Records { records, .. } => records.iter().map(|record| record.data.clone()).collect(),
            Answer::Absent { .. } => Vec::new(),
            Answer::Failed(failure) => panic!("{failure}"),
        };
        let found: Vec<RecordData> = answers.iter().flat_map(data).collect();
        let v6 = std::net::Ipv6Addr::LOCALHOST;
        assert_eq!(found, [RecordData::A([127, 0, 0, 1].into()), RecordData::Aaaa(v6)]);
    }
}
