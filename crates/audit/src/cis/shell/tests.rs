//! The interpreter beside the real `/bin/sh` and its tools: what they print and their status have to be the same.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::run::Outcome;
use super::{Stop, check, run};
use crate::cis::host::{Host, Limits};

fn write(root: &Path, path: &str, text: &str, mode: u32) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
    fs::write(&path, text).expect("it can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

fn tree() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a folder");
    let root = place.path();
    write(
        root,
        "conf/config.yaml",
        "kind: KubeletConfiguration\nauthentication:\n  anonymous:\n    enabled: false\n",
        0o600,
    );
    write(root, "conf/.hidden", "", 0o644);
    write(root, "pki/ca.crt", "one\n", 0o644);
    write(root, "pki/ca.key", "two\n", 0o600);
    write(root, "pki/etcd/server.crt", "three\n", 0o664);
    write(root, "text", "b 2 x\na 1 y\n\nb 2 x\nc:d:e\n--flag=1 --other=2\nlast", 0o640);
    write(root, "odd name", "odd\n", 0o604);
    write(root, "empty", "", 0o444);
    symlink("pki/ca.crt", root.join("link")).expect("a link");
    place
}

fn real(script: &str) -> Outcome {
    let mut child = Command::new("/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("LC_ALL", "C")
        .spawn()
        .expect("/bin/sh");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), script.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stderr, output.stdout].concat();
    Outcome { output: String::from_utf8_lossy(&text).into_owned(), status: output.status.code().expect("no signal") }
}

const SCRIPTS: &[&str] = &[
    // The language.
    "echo a; echo b && false || echo c",
    "echo one two   three",
    "echo 'a  b' \"c  d\" e\\ f",
    "false",
    "! false",
    "true && ! true || echo no",
    "(exit 3)",
    "exit 4; echo never",
    "if test -e $T/pki/ca.crt; then stat -c permissions=%a $T/pki/ca.crt; fi",
    "if test -e $T/nothing; then echo a; elif [ -d $T/pki ]; then echo folder; else echo b; fi",
    "if false; then echo a; fi",
    "for f in $T/pki/*.crt $T/nothing*; do echo \"$f\"; done",
    "for d in $(echo a b c); do if [ $d = b ]; then continue; fi; echo $d; done",
    "for d in a b c; do [ $d = b ] && break; echo $d; done",
    "echo a b c | while read -r x y; do echo \"$y/$x\"; done",
    "printf 'a 1\\nb 2\\n' | while read -r name value; do echo \"$value=$name\"; done",
    "i=; while [ \"$i\" != xxx ]; do i=\"x$i\"; done; echo $i",
    "until true; do echo a; done; echo $?",
    "X=1; (X=2; echo $X); echo $X; { X=3; }; echo $X",
    "X='a  b'; echo $X \"$X\"",
    "X='*'; cd_=no; echo \"$X\"",
    "X=; echo \"${X:-default}\" \"${X-kept}\" \"${Y-missing}\" ${#X}",
    "X=a.b.c; echo ${X%.*} ${X%%.*} ${X#*.} ${X##*.}",
    "X=${Y:-$(echo deep)}; echo $X",
    "echo `echo back \\`echo deeper\\``",
    "echo \"$(echo \"a  b\")\" $(echo \"c  d\")",
    "false; echo $?",
    "X=$(false); echo $?",
    "echo a | grep b; echo $?",
    "echo a 2>/dev/null | cat >/dev/null; echo b 1>&2 2>/dev/null; echo c",
    "cat $T/nothing 2>/dev/null || echo gone",
    "cat < $T/pki/ca.crt",
    "# only a comment\necho a # and one behind\necho b#c",
    "echo a \\\n  b",
    "/bin/sh -c 'echo inner; exit 2'; echo $?",
    "/bin/sh -c 'if test -e $T/text; then echo $T; fi'",
    "sh -c \"echo \\\"quoted \\$HOME_NOT_SET\\\"\"",
    "{ echo a; echo b; } | tail -n1",
    "(echo a; echo b) | head -n 1",
    "export A=b; echo $A; unset A; echo \"[$A]\"",
    "echo '$X' \"\\$X\" \\$X",
    "echo {a,b} [c] $",
    "test",
    "[ a = a ] && [ a != b ] && [ -n a ] && [ ! -n '' ] && [ 3 -gt 2 -a 2 -le 2 ] && echo all",
    "[ '' ] || [ 1 -eq 2 ] || echo none",
    "[ 1 -eq x ] 2>/dev/null; echo $?",
    "test -f $T/text && test -s $T/text && ! test -s $T/empty && test -L $T/link && test -d $T/pki && test -x $T/pki && ! test -x $T/text; echo $?",
    "test \"$(echo a | wc -l)\" -gt 0 && echo lines",
    "return 3",
    // Tools.
    "cat $T/text",
    "cat $T/nothing $T/pki/ca.crt; echo $?",
    "cat $T/pki",
    "head -n 2 $T/text; head -1 $T/text; tail -n1 $T/text; tail -2 $T/text; tail -n +6 $T/text",
    "wc -l < $T/text; wc -l $T/text; echo a b | wc -w; printf abc | wc -c",
    "sort $T/text; sort -u $T/text; sort -r $T/text; printf '10\\n9\\n' | sort -n",
    "sort $T/text | uniq; sort $T/text | uniq -c; sort $T/text | uniq -d",
    "cut -d: -f2 $T/text; cut -d ' ' -f 1,3 $T/text; cut -c1-2 $T/text; cut -s -d: -f2- $T/text",
    "printf 'a b\\tc\\n' | tr -d ' '; echo abc | tr a-c A-C; echo aabb | tr -s ab; printf 'a\\0b' | tr '\\0' '\\n'; echo x | tr '[:lower:]' '[:upper:]'",
    "printf 'a\\nb\\nc\\n' | paste -sd, -",
    "printf '%s-%5s|%-5s|%d%%\\n' a b c 7; printf '%s\\n' x y; printf 'plain\\n'; printf '%.2s\\n' abcdef",
    "echo -n a; echo b",
    "grep b $T/text; grep -c b $T/text; grep -n b $T/text; grep -v b $T/text; grep -q zzz $T/text; echo $?",
    "grep -E '^(a|c)' $T/text; grep '^\\(a\\|c\\)' $T/text; grep -F 'c:d' $T/text; grep -i LAST $T/text; grep -w flag $T/text; grep -x last $T/text",
    "grep -- --flag $T/text; grep -e --flag -e last $T/text; grep -o -- '--[a-z]*=[0-9]' $T/text",
    "grep -A1 '^a' $T/text; grep -B1 '^a' $T/text; grep -C1 last $T/text; grep -m1 b $T/text; grep -A1 b $T/text",
    "grep b $T/text $T/pki/ca.crt; grep -h b $T/text $T/pki/ca.crt; grep -H b $T/text",
    "grep a $T/nothing; echo $?; grep -s a $T/nothing; echo $?",
    "grep 'x\\{1,2\\}' $T/text; grep -E 'x{1,2}' $T/text; grep '[[:space:]]2' $T/text; grep 'a\\+' $T/text; grep 'c.d' $T/text; grep '*' $T/text; echo $?",
    "grep '^tls\\s' $T/text || grep '\\bflag\\b' $T/text; grep '[^a-z0-9 :=-]' $T/text; grep 'a*b' $T/text",
    "sed 's/b/B/' $T/text; sed 's%a.*%[&]%; s/x/y/g' $T/text; sed -n '2p' $T/text; sed -n '$p' $T/text; sed '1,3d' $T/text; sed '/^$/d' $T/text",
    "echo '--data-dir=/var/lib/etcd --x' | sed 's%.*data-dir[= ]\\([^ ]*\\).*%\\1%'",
    "echo a/b | sed 's|^.*/||'",
    "sed -n 's/^a/found /p' $T/text; sed -E 's/(a|b) ([0-9])/\\2 \\1/' $T/text; sed '/a/,/c/d' $T/text; sed '2q' $T/text; sed -n '/a/!p' $T/text",
    "sed -e 's/a/1/' -e 's/b/2/' $T/text",
    "awk '{print $1}' $T/text; awk -F: '{print $2}' $T/text; awk '{print $NF, NR, NF}' $T/text; awk 'NR==2' $T/text; awk 'NR>4 {print $0}' $T/text",
    "awk -F '--other=' '{print $2}' $T/text; awk '/a/ {print \"x\" $1 \"y\"}' $T/text; awk '$1 == \"b\" && $2 >= 2 {print $3}' $T/text",
    "awk '$3 != \"x\" { if ($3){print \"yes=\" $3}else{print \"none\"} }' $T/text; awk -F ':|: *' '{print $NF}' $T/text; awk '$1 ~ /^b/ {print}' $T/text",
    "stat -c %a $T/text; stat -c 'permissions=%a %n' $T/text $T/empty; stat -c '%U:%G %u:%g %s %F' $T/text; stat -c '%A %F' $T/pki $T/link; stat -L -c %F $T/link",
    "stat -c %a $T/nothing; echo $?",
    "stat -c %a; echo $?",
    "ls $T/pki; ls $T/text $T/pki; ls -a $T/conf | tail -1; ls $T/nothing; echo $?; ls -d $T/pki",
    "find $T/pki -name '*.crt' | sort; find $T -type f ! -name '*.crt' | sort; find $T/pki -mindepth 1 -maxdepth 1 | sort; find $T -type l; find $T -type d | sort",
    "find $T -name '*.key' -exec stat -c %a {} \\;; find $T -name '*.key' -exec stat -c '%a' {} +; find $T -perm 600 | sort; find $T -perm /022 -type f; find $T/nothing; echo $?",
    "find $T -name 'odd*' -o -name 'emp*' | sort; find $T -path '*/etcd/*'; find $T/pki -not -name '*.crt' -type f",
    "find $T/pki -name '*.crt' | sort | xargs stat -c permissions=%a; printf '' | xargs -r echo a; printf '' | xargs echo a; printf 'a b\\nc\\n' | xargs echo; printf 'a b\\nc\\n' | xargs -n1 echo",
    "printf 'a b\\nc\\n' | xargs -I{} echo '<{}>'; printf '\"a b\" c\\n' | xargs -n 1 echo; printf 'a b\\nc d\\n' | xargs -L 1 echo x; echo $T/nothing | xargs cat; echo $?",
    "find $T -name 'odd*' -print0 | xargs -0 stat -c %a",
    "find $T -name '*.crt' | sort | xargs --no-run-if-empty stat -c permissions=%a",
    "echo \"$T\"/pki/c?.k[e]y \"$T/pki/*\" $T/conf/* $T/*/ca.*",
    "DATA_DIR=''\nfor d in $(echo \"$T/nothing $T/pki\"); do\n  if test -d \"$d\"; then DATA_DIR=\"$d\"; fi\ndone\nif ! test -d \"$DATA_DIR\"; then DATA_DIR=$T; fi\nstat -c %a \"$DATA_DIR\"",
    "CAFILE=$(echo 'kubelet --client-ca-file=/a --x' | awk -F '--client-ca-file=' '{print $2}' | awk '{print $1}' | uniq)\nif test -z $CAFILE; then CAFILE=b; fi\necho $CAFILE",
    "cat \"/proc/$(echo | tr -d ' ')/environ\" 2>/dev/null | tr '\\0' '\\n'",
];

#[test]
fn scripts_do_what_the_real_shell_does() {
    let place = tree();
    let host = Host::new(None, 0, Limits::default());
    let mut different = Vec::new();
    for script in SCRIPTS {
        let script = script.replace("$T", &place.path().display().to_string());
        let expected = real(&script);
        // The two streams are read one after the other there, and as they come here.
        let sorted = |outcome: &Outcome| {
            let mut lines: Vec<_> = outcome.output.split('\n').map(str::to_owned).collect();
            lines.sort();
            (lines, outcome.status)
        };
        match run(&script, &host) {
            Ok(outcome) if sorted(&outcome) == sorted(&expected) => {}
            other => different.push(format!("{script}\n  here: {other:?}\n  sh:   {expected:?}")),
        }
    }
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), SCRIPTS.len(), different.join("\n"));
}

#[test]
fn what_is_outside_of_the_subset_is_refused_before_anything_runs() {
    let host = Host::new(None, 0, Limits::default());
    for (script, why) in [
        ("echo a; rm -rf /tmp/x", "the program `rm`"),
        ("echo a > /tmp/x", "writing to a file"),
        ("echo a &", "background"),
        ("diff <(echo a) <(echo b)", "process substitution"),
        ("cat <<EOF\na\nEOF", "here-documents"),
        ("echo $((1 + 1))", "arithmetic"),
        ("f() { echo a; }", "functions"),
        ("case a in a) echo b;; esac", "`case`"),
        ("eval echo a", "`eval`"),
        ("$PROGRAM a", "comes out of a variable"),
        ("echo a | sh", "without `-c`"),
        ("sh -c 'echo a; wget b'", "the program `wget`"),
        ("echo a | xargs -I{} touch {}", "the program `touch`"),
        ("find / -name a -delete", "`-delete` of `find`"),
        ("find / -exec chmod 777 {} \\;", "the program `chmod`"),
        ("sed -i s/a/b/ /tmp/x", "the option `-i` of `sed`"),
        ("sed 's/a/b/e' /tmp/x", "the flag `e`"),
        ("sed -n 'w /tmp/x' /tmp/y", "the command `w` of `sed`"),
        ("awk 'BEGIN { system(\"id\") }'", "of `awk`"),
        ("kubectl delete pods --all", "only get"),
        ("systemctl stop kubelet", "only is-enabled"),
        ("echo 'a", "not closed"),
        ("if true; then echo a", "`fi` is missing"),
        ("echo $(echo", "`)` is missing"),
        ("grep '\\(a\\)\\1' /tmp/x", "back references"),
        ("grep '[a' /tmp/x", "not closed"),
        ("ps --forest", "the option"),
        ("echo a | xargs xargs echo", "called by a program"),
        ("find / -exec find {} \\;", "called by a program"),
        ("printf '%é' a", "`%é` in a format"),
    ] {
        let refused = run(script, &host);
        let words = match &refused {
            Err(Stop::Unsupported(what)) => what.to_string(),
            other => panic!("{script}: {other:?}"),
        };
        assert!(words.contains(why), "{script}: {words}");
    }
    assert!(check("echo a\nrm b").is_err());
}

#[test]
fn time_and_output_are_limited() {
    let place = tree();
    let pipe = place.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let limit = |time: u64, script: &str| {
        let host = Host::new(None, 0, Limits { time: Duration::from_millis(time), output: 10_000 });
        match run(script, &host) {
            Err(Stop::Limit(what)) => what,
            other => panic!("{script}: {other:?}"),
        }
    };
    assert!(limit(50, "while true; do true; done").contains("longer than"));
    assert!(limit(50, &format!("base64 {}", pipe.display())).contains("longer than"), "nobody writes into it");
    assert!(limit(60_000, "while true; do echo a; done").contains("output"));
    assert!(limit(60_000, "X=aaaaaaaaaa; while true; do X=\"$X$X\"; done").contains("grows"));
    assert!(limit(60_000, "base64 /dev/zero").contains("printed more than"));
    let host = Host::new(None, 0, Limits::default());
    let cat = run("cat /dev/zero", &host).expect("in the subset");
    assert_eq!((cat.output.as_str(), cat.status), ("cat: /dev/zero: not a regular file, and not read\n", 1));
    let deep = format!("{}echo a{}", "(".repeat(500), ")".repeat(500));
    assert!(matches!(run(&deep, &host), Err(Stop::Unsupported(_))));
}

#[test]
fn programs_are_started_one_by_one() {
    let host = Host::new(None, 0, Limits::default());
    let outcome = run("printf 'aGVsbG8K' | base64 -d | grep -o 'hel*'", &host).expect("in the subset");
    assert_eq!((outcome.output.as_str(), outcome.status), ("hell\n", 0));
    let outcome = run("oc get nodes", &host).expect("in the subset");
    assert_eq!((outcome.output.as_str(), outcome.status), ("/bin/sh: 1: oc: not found\n", 127));
    let place = tree();
    let tree = Host::new(Some(place.path()), 0, Limits::default());
    assert!(matches!(run("uname -a", &tree), Err(Stop::Unsupported(what)) if what.to_string().contains("--root")));
}

#[test]
fn a_tree_is_never_left() {
    let place = tree();
    let root = place.path().join("root");
    write(&root, "etc/passwd", "root:x:0:0::/:\nme:x:4242:0::/:\n", 0o644);
    write(&root, "data/secret", "inside\n", 0o600);
    symlink("/data/secret", root.join("absolute")).expect("a link");
    symlink("../../../../../../data/secret", root.join("upwards")).expect("a link");
    symlink("loop", root.join("loop")).expect("a link");
    write(place.path(), "data/secret", "outside\n", 0o600);
    let host = Host::new(Some(&root), 0, Limits::default());
    let cat = |path: &str| run(&format!("cat {path}"), &host).expect("in the subset").output;
    assert_eq!(cat("/absolute"), "inside\n");
    assert_eq!(cat("/upwards"), "inside\n");
    assert_eq!(cat("/data/../../data/secret"), "inside\n");
    assert!(cat("/loop").contains("Too many"), "{}", cat("/loop"));
    assert_eq!(run("stat -c '%a %F' /upwards", &host).expect("in the subset").output, "777 symbolic link\n");
}

#[test]
fn no_beginning_of_a_script_does_harm() {
    for script in SCRIPTS {
        for (end, _) in script.char_indices() {
            // Whether it is read or refused: it comes back.
            let _ = check(&script[..end]);
            let _ = check(&script[end..]);
        }
    }
    assert!(
        check(&"$(".repeat(10_000)).is_err()
            && check(&"${a:-".repeat(10_000)).is_err()
            && check(&"if ".repeat(10_000)).is_err()
    );
    assert!(check(&"! ".repeat(10_000)).is_err() && check(&"xargs ".repeat(10_000)).is_err());
}

#[test]
fn processes_are_shown_as_ps_does() {
    let place = tempfile::tempdir().expect("a folder");
    let root = place.path();
    write(root, "etc/passwd", "root:x:0:0::/:\netcd:x:997:0::/:\n", 0o644);
    write(root, "proc/stat", "cpu 1\nbtime 1795600000\n", 0o444);
    let process = |pid: u32, name: &str, command: &str, uid: u32, stat: &str| {
        write(root, &format!("proc/{pid}/cmdline"), &command.replace(' ', "\0"), 0o444);
        write(root, &format!("proc/{pid}/comm"), &format!("{name}\n"), 0o444);
        write(root, &format!("proc/{pid}/status"), &format!("Name:\t{name}\nPPid:\t1\nUid:\t{uid}\t{uid}\n"), 0o444);
        write(root, &format!("proc/{pid}/stat"), &format!("{pid} ({name}) S 1 1 1 {stat}"), 0o444);
    };
    // Terminal, then user and system time as the 14th and 15th field, the start as the 22nd.
    process(20, "etcd", "etcd --data-dir=/d", 997, "0 0 0 0 0 0 0 360000 6100 0 0 20 0 1 0 100000 0");
    process(3, "kthreadd", "", 0, "0 0 0 0 0 0 0 0 0 0 0 20 0 1 0 0 0");
    process(
        21,
        "kube-controller",
        "/usr/bin/kube-controller-manager --x",
        0,
        "34817 0 0 0 0 0 0 0 0 0 0 20 0 1 0 200000 0",
    );
    let host = Host::new(Some(root), 1_795_608_000, Limits::default());
    let ps = |arguments: &str| run(&format!("ps {arguments}"), &host).expect("in the subset");
    let all = "UID  PID PPID  C STIME TTY       TIME CMD\n\
               root   3    1  0 09:46 ?     00:00:00 [kthreadd]\n\
               etcd  20    1 52 10:03 ?     01:01:01 etcd --data-dir=/d\n\
               root  21    1  0 10:20 pts/1 00:00:00 /usr/bin/kube-controller-manager --x\n";
    assert_eq!(ps("-ef").output, all);
    assert_eq!(ps("-C etcd -o cmd --no-headers").output, "etcd --data-dir=/d\n");
    assert_eq!(ps("-C etcd -o pid=").output, "20\n");
    assert_eq!(
        ps("-C kube-controller-manager -o comm=,user=").output,
        "kube-controller root\n",
        "the kernel keeps 15 bytes of a name"
    );
    assert_eq!(ps("-p 20,21 -o ppid= -o tty=").output, "1 ?\n1 pts/1\n");
    let nobody = ps("-fC nobody");
    assert_eq!((nobody.output.as_str(), nobody.status), ("UID PID PPID C STIME TTY TIME CMD\n", 1));
    assert_eq!(ps("-C -o pid=").status, 1, "a list is missing");
    assert_eq!(ps("aux").output, all);
}
