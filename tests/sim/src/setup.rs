//! What a plan's system is made of: the site, the switch's configuration, and each phone's. Called by `world`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ringfort_guard::WatchConfig;
use ringfort_phone::{MediaSettings, PhoneConfig};
use ringfort_sip::digest::{Algorithm, Credentials};
use ringfort_sip::endpoint::ListenerInfo;
use ringfort_sip::flow::{ListenerId, Target, Transport};
use ringfort_sip::uri::HostPort;
use ringfort_switch::config::{
    CallConfig, Listener, MediaConfig, Profile, ProfileKind, RegistrarConfig, SCANNERS, SecretKey, SwitchConfig,
    VoicemailConfig,
};
use ringfort_switch::model::{
    Calling, Extension, ExtensionId, NumberPlan, ProfileId, Secret, SipCredentials, Site, SrtpPolicy, Tenant, TenantId,
};

use crate::front;
use crate::lines::{self, CarrierPlan};
use crate::plan::{PhonePlan, Plan};
use crate::script;

pub(crate) const DOMAIN: &str = "pbx.example";
/// Lines of media that a leg may have at once.
pub(crate) const MOST_LINES: usize = 4;
pub(crate) const SWITCH_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

pub(crate) fn number(extension: usize) -> String {
    format!("{}", 101 + extension)
}

/// Where the telephones are; a thief's is in no private range, so that nobody spares it.
pub(crate) fn phone_address(index: usize, plan: &PhonePlan) -> IpAddr {
    let last = 10 + (index % 200) as u8;
    IpAddr::V4(match plan.thief {
        true => Ipv4Addr::new(198, 51, 100, last),
        false => Ipv4Addr::new(10, 77, 100 + (index / 200) as u8, last),
    })
}

/// Where carriers reach the switch.
pub(crate) const OUTSIDE_PORT: u16 = 5080;

pub(crate) fn port(transport: Transport) -> u16 {
    if transport.is_secure() { 5061 } else { 5060 }
}

pub(crate) fn site(plan: &Plan) -> Site {
    let tenant =
        Tenant { id: TenantId(1), name: "Acme".into(), domains: vec![DOMAIN.into()], numbers: NumberPlan::default() };
    let extensions = (0..plan.extensions)
        .map(|n| {
            let credentials =
                SipCredentials { user: format!("user{n}xq"), password: Secret::new(format!("pass{n}word")) };
            let extension = Extension {
                id: ExtensionId(n as u32 + 1),
                tenant: TenantId(1),
                number: number(n),
                name: format!("Desk {n}"),
                credentials,
                srtp: SrtpPolicy::Offer,
                max_calls: 6,
                max_contacts: 10,
                enabled: true,
                calling: Calling::default(),
            };
            (extension.id, extension)
        })
        .collect();
    let mut site = Site { revision: 1, tenants: vec![tenant], extensions, ..Site::default() };
    if let Some(plan) = &plan.lines {
        lines::lay(&mut site, plan);
    }
    site
}

pub(crate) fn switch_config() -> SwitchConfig {
    let inside = [Transport::Udp, Transport::Tcp, Transport::Tls].map(|transport| (0, transport, port(transport)));
    let outside = [Transport::Udp, Transport::Tcp].map(|transport| (1, transport, OUTSIDE_PORT));
    let listeners = inside
        .into_iter()
        .chain(outside)
        .zip(0u16..)
        .map(|((profile, transport, port), id)| Listener {
            profile: ProfileId(profile),
            sip: ListenerInfo {
                id: ListenerId(id),
                transport,
                local: SocketAddr::new(SWITCH_IP, port),
                advertised: HostPort::new(SWITCH_IP.to_string(), Some(port)),
                inside: None,
            },
        })
        .collect();
    let profile =
        |id, name: &str, kind, digest| Profile { id: ProfileId(id), name: name.into(), kind, digest, allow: None };
    let digest = vec![Algorithm::Sha256, Algorithm::Md5];
    SwitchConfig {
        profiles: vec![
            profile(0, "phones", ProfileKind::Internal, digest),
            profile(1, "world", ProfileKind::External, Vec::new()),
        ],
        listeners,
        registrar: RegistrarConfig::default(),
        calls: CallConfig {
            max_duration: Duration::from_secs(600),
            ring_for: Duration::from_secs(30),
            session_expires: Duration::from_secs(300),
            ..CallConfig::default()
        },
        voicemail: VoicemailConfig::default(),
        media: MediaConfig {
            advertised_v4: Some(SWITCH_IP),
            advertised_v6: None,
            ports: (10_000, 19_999),
            codecs: Vec::new(),
            max_lines: MOST_LINES,
        },
        nonce_lifetime: Duration::from_secs(300),
        max_transactions: 10_000,
        max_dialogs: 10_000,
        gruu_key: SecretKey::new([9; 32]),
        inner_domains: false,
        judges_identity: false,
        // Short, so that bans end within a run.
        watch: WatchConfig { ban_for: Duration::from_secs(60), ..WatchConfig::default() },
        scanners: SCANNERS.map(str::to_owned).to_vec(),
        locate: ringfort_sip::locate::Settings::default(),
        product: Some("Ringfort".into()),
    }
}

/// What the phones of an extension play, Hz.
pub(crate) fn tone(extension: usize) -> u16 {
    500 + 250 * extension as u16
}

pub(crate) fn phone_config(index: usize, plan: &PhonePlan, with_media: bool) -> PhoneConfig {
    let address = phone_address(index, plan);
    let transport = plan.transport;
    let own = SocketAddr::new(address, port(transport));
    let listener =
        ListenerInfo { id: ListenerId(0), transport, local: own, advertised: HostPort::from(own), inside: None };
    let server = Target::Connect {
        transport,
        listener: ListenerId(0),
        remote: SocketAddr::new(SWITCH_IP, port(transport)),
        server_name: None,
    };
    let n = plan.extension;
    let password = if plan.thief { "guessed".to_owned() } else { format!("pass{n}word") };
    let credentials = Credentials { realm: Some(DOMAIN.into()), user: format!("user{n}xq"), password };
    PhoneConfig {
        display_name: format!("Phone{index}display"),
        credentials: Some(credentials),
        instance: Some(format!("urn:uuid:00000000-0000-4000-8000-{:012x}", 0xABCD_0000_u64 + index as u64)),
        expires: plan.expires,
        media: MediaSettings {
            srtp: plan.srtp,
            video: plan.video,
            tone: with_media.then(|| tone(plan.extension)),
            listen_for: (0..9).map(tone).collect(),
            ..MediaSettings::new(address, 4000)
        },
        answer: plan.answer,
        session: plan.session_timer.map(script::session_timer),
        knows_timer: plan.knows_timer,
        reliable: plan.reliable,
        max_forwards: plan.max_forwards,
        user_agent: Some(format!("Phone{index}Maker/1.{index}.77")),
        ..PhoneConfig::new(&number(n), DOMAIN, server, listener)
    }
}

/// The telephone of a carrier.
pub(crate) fn carrier_config(index: usize, carrier: &CarrierPlan) -> PhoneConfig {
    let plan = carrier.phone();
    let own = front::own(index);
    let transport = plan.transport;
    let listener =
        ListenerInfo { id: ListenerId(0), transport, local: own, advertised: HostPort::from(own), inside: None };
    let server = Target::Connect {
        transport,
        listener: ListenerId(0),
        remote: SocketAddr::new(SWITCH_IP, OUTSIDE_PORT),
        server_name: None,
    };
    PhoneConfig {
        display_name: format!("Carrier{index}display"),
        reliable: plan.reliable,
        user_agent: Some(format!("Carrier{index}Maker/1.{index}.77")),
        max_calls: 1000,
        ..PhoneConfig::new(&lines::caller_of(index), &lines::realm(index), server, listener)
    }
}
