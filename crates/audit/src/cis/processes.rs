//! The processes of a host, from its `/proc`.

use super::host::Host;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's number.
    pub parent: u32,
    /// Whose it is.
    pub uid: u32,
    /// The name the kernel keeps, at most 15 bytes.
    pub name: String,
    /// The program and its arguments; empty for threads of the kernel.
    pub arguments: Vec<String>,
    /// The terminal, `?` where there is none.
    pub terminal: String,
    /// Seconds of processor time.
    pub worked: u64,
    /// When it began, in seconds since 1970, where that is known.
    pub started: Option<u64>,
}

/// Ticks of the kernel's clock in a second, as programs see it on every architecture that Kubernetes runs on.
const TICKS: u64 = 100;
/// How much of a name the kernel keeps.
const NAME: usize = 15;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// All processes, by number, without this program's own.
pub fn processes(host: &Host) -> Vec<Process> {
    let booted = text(host, "/proc/stat")
        .and_then(|stat| stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()))
        .unwrap_or(0);
    let mut pids: Vec<u32> =
        host.list("/proc").unwrap_or_default().iter().filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    let own = host.is_live().then(std::process::id);
    pids.into_iter().filter(|pid| Some(*pid) != own).filter_map(|pid| process(host, pid, booted)).collect()
}

fn text(host: &Host, path: &str) -> Option<String> {
    host.read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// `None` where it ended meanwhile.
fn process(host: &Host, pid: u32, booted: u64) -> Option<Process> {
    let arguments = text(host, &format!("/proc/{pid}/cmdline"))?;
    let arguments: Vec<_> = arguments.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
    let arguments = if arguments == [""] { Vec::new() } else { arguments };
    let status = text(host, &format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|values| values.split_whitespace().next()).map(str::to_owned)
    };
    let name = text(host, &format!("/proc/{pid}/comm")).map(|name| name.trim_end().to_owned());
    let name = name.or_else(|| field("Name")).unwrap_or_default();
    // The fields behind the name, which may have blanks and brackets in it: state is the third of all.
    let stat = text(host, &format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let known = |which: usize| fields.get(which - 3).and_then(|field| field.parse::<u64>().ok());
    let number = |which: usize| known(which).unwrap_or(0);
    Some(Process {
        pid,
        parent: field("PPid").and_then(|parent| parent.parse().ok()).unwrap_or(0),
        uid: field("Uid").and_then(|uid| uid.parse().ok()).unwrap_or(0),
        name,
        arguments,
        terminal: terminal(number(7)),
        worked: (number(14) + number(15)) / TICKS,
        started: known(22).map(|ticks| booted + ticks / TICKS),
    })
}

/// A terminal by its device number.
fn terminal(device: u64) -> String {
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00);
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 => format!("tty{minor}"),
        _ => "?".to_owned(),
    }
}

impl Process {
    /// Whether it has this name, as `ps -C` sees it: the kernel keeps the first 15 bytes.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || name.len() > NAME && self.name.len() == NAME && name.starts_with(&self.name)
    }

    /// The command line, `[name]` for threads of the kernel.
    pub fn command(&self) -> String {
        if self.arguments.is_empty() { format!("[{}]", self.name) } else { self.arguments.join(" ") }
    }

    /// Percent of a processor since it began.
    pub fn share(&self, now: u64) -> u64 {
        let lived = self.started.map_or(0, |started| now.saturating_sub(started));
        (self.worked * 100).checked_div(lived).unwrap_or(0).min(99)
    }

    /// When it began (UTC): the time if that is less than a day ago, else the day.
    pub fn started_text(&self, now: u64) -> String {
        let Some(started) = self.started else { return "?".to_owned() };
        if now.saturating_sub(started) < 86_400 {
            return format!("{:02}:{:02}", started / 3600 % 24, started / 60 % 60);
        }
        let date = crate::scan::suppress::Date::from_unix(started).to_string();
        let mut parts = date.split('-').skip(1).map(|part| part.parse::<usize>().unwrap_or(1));
        let month = MONTHS[parts.next().unwrap_or(1).clamp(1, 12) - 1];
        format!("{month}{:02}", parts.next().unwrap_or(1))
    }
}
