//! Kamailio as a provider: it takes calls by digest and passes them to a gateway behind it, and passes the gateway's calls
//! on to us.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::place::Place;
use crate::process::Running;

/// Where Debian keeps the modules, by machine.
const MODULES: &str = "/usr/lib/*/kamailio/modules";

/// What a provider is to do.
pub struct Provider {
    pub ip: IpAddr,
    /// Realm, user and password of its customer; `None`: his address is enough.
    pub digest: Option<(&'static str, &'static str, &'static str)>,
    /// Where calls of the customer go.
    pub gateway: SocketAddr,
    /// Where calls for the customer go.
    pub customer: SocketAddr,
    /// The customer registers, by the same digest: his calls go to the Contact of it.
    pub registrar: bool,
}

impl Provider {
    /// Starts it on port 5060 and waits until it serves.
    pub fn start(&self, place: &Place) -> anyhow::Result<Running> {
        let config = place.write("kamailio.cfg", &self.config()?)?;
        let runtime = place.path("kamailio");
        std::fs::create_dir_all(&runtime)?;
        let mut command = Command::new("kamailio");
        // In the foreground, all in one place, with little memory.
        command.args(["-DD", "-E", "-m", "32", "-M", "8"]).arg("-f").arg(&config).arg("-Y").arg(&runtime);
        command.arg("-w").arg(place.dir());
        let mut running = Running::start("kamailio", &mut command, &place.path("kamailio.log"))?;
        running.wait_said("provider is ready", Duration::from_secs(20))?;
        Ok(running)
    }

    fn config(&self) -> anyhow::Result<String> {
        let modules = modules().context("Kamailio has no modules where Debian puts them")?;
        let Provider { ip, gateway, customer, .. } = self;
        let ask = match self.digest {
            None => String::new(),
            Some((realm, user, password)) => format!(
                "    if ($au != \"{user}\" || !pv_proxy_authenticate(\"{realm}\", \"{password}\", \"0\")) {{\n      \
                 proxy_challenge(\"{realm}\", \"0\");\n      exit;\n    }}\n    consume_credentials();\n"
            ),
        };
        let (more_modules, register, find) = match self.digest.filter(|_| self.registrar) {
            None => ("", String::new(), format!("$du = \"sip:{customer}\";")),
            Some((realm, user, password)) => (
                "loadmodule \"usrloc.so\"\nloadmodule \"registrar.so\"\n",
                format!(
                    "if (is_method(\"REGISTER\")) {{\n    if ($au != \"{user}\" || !pv_www_authenticate(\"{realm}\", \"{password}\", \"0\")) {{\n      \
                     www_challenge(\"{realm}\", \"0\");\n      exit;\n    }}\n    save(\"location\");\n    \
                     xlog(\"L_ERR\", \"customer registered\\n\");\n    exit;\n  }}\n  "
                ),
                format!(
                    "$ru = \"sip:{user}@{ip}\";\n    if (!lookup(\"location\")) {{ sl_send_reply(\"404\", \"Not registered\"); exit; }}"
                ),
            ),
        };
        Ok(format!(
            "debug=2\nlog_stderror=yes\nchildren=1\nauto_aliases=no\ndisable_tcp=yes\nlisten=udp:{ip}:5060\nmpath=\"{modules}\"\n\
             loadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"rr.so\"\nloadmodule \"pv.so\"\nloadmodule \"siputils.so\"\n\
             loadmodule \"textops.so\"\nloadmodule \"auth.so\"\nloadmodule \"xlog.so\"\n{more_modules}\
             event_route[core:worker-one-init] {{ xlog(\"L_ERR\", \"provider is ready\\n\"); }}\n\
             request_route {{\n  \
             if (is_method(\"CANCEL\")) {{ if (t_check_trans()) t_relay(); exit; }}\n  \
             if (has_totag()) {{\n    \
             if (loose_route()) {{ t_relay(); exit; }}\n    \
             if (is_method(\"ACK\")) {{ if (t_check_trans()) t_relay(); exit; }}\n    \
             sl_send_reply(\"404\", \"Not here\"); exit;\n  }}\n  \
             {register}if (is_method(\"OPTIONS\")) {{ sl_send_reply(\"200\", \"OK\"); exit; }}\n  \
             if (is_method(\"ACK\")) exit;\n  \
             if ($si == \"{customer_ip}\") {{\n{ask}    $du = \"sip:{gateway}\";\n  }} else {{\n    {find}\n  }}\n  \
             record_route();\n  t_relay();\n}}\n",
            customer_ip = customer.ip(),
        ))
    }
}

fn modules() -> Option<String> {
    let (before, after) = MODULES.split_once('*')?;
    let machines = std::fs::read_dir(before).ok()?.filter_map(Result::ok);
    machines
        .map(|machine| format!("{}{after}", machine.path().display()))
        .find(|path| Path::new(path).join("tm.so").exists())
        .map(|path| format!("{path}/"))
}
