//! A network namespace for one test.
//!
//! Owns the second run of the test's binary inside it. Never skips silently, and never at all where `CI=true`.

use std::{
    env,
    io::Read,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Set to the test's name in the run inside the namespace.
const INSIDE: &str = "ANTEROOM_TESTKIT_INSIDE";
/// What that run prints first.
const MARK: &str = "[testkit] inside a network namespace of its own";
/// The longest that one test may take, with as many rounds as a release is given.
const LONGEST: Duration = Duration::from_secs(1_200);

/// Runs the body in a network namespace of its own, loopback up, as that namespace's root, and in a process of its own.
///
/// Call it as the only statement of a `#[test]`: it starts the test's own binary again for this one test, under
/// `unshare`, and passes the outcome and the output through. Where namespaces cannot be made it prints why it skipped;
/// with `CI=true` in the environment it panics instead.
///
/// ```no_run
/// # use anteroom_testkit::isolated;
/// #[test]
/// fn the_world_is_empty() {
///     isolated(|| assert!(anteroom_testkit::tcp_sockets().is_empty()));
/// }
/// ```
pub fn isolated<F: FnOnce()>(body: F) {
    let name = test_name(std::any::type_name::<F>());
    if env::var(INSIDE).is_ok_and(|inside| inside == name) {
        bring_loopback_up().expect("loopback comes up");
        println!("{MARK}");
        return body();
    }
    let output = match run_again(name) {
        Ok(output) => output,
        Err(why) => return skip(name, &why),
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !out.contains(MARK) {
        return skip(name, err.trim());
    }
    print!("{out}");
    eprint!("{err}");
    assert!(output.status.success(), "{name} failed in its namespace: {}", output.status);
    assert!(out.contains("1 passed"), "{name} is not the name of one test");
}

/// The path of the test from the path of the closure that it gave: `crate::a::test::{{closure}}`.
fn test_name(closure: &'static str) -> &'static str {
    let path = closure.split_once("::{{closure}}").map_or(closure, |(path, _)| path);
    path.split_once("::").map_or(path, |(_, rest)| rest)
}

fn skip(name: &str, why: &str) {
    let why = format!("{name} needs a network namespace, which cannot be made here: {why}");
    assert!(env::var("CI").as_deref() != Ok("true"), "{why}");
    eprintln!("skipped: {why}");
}

fn run_again(name: &str) -> Result<Output, String> {
    let binary = env::current_exe().map_err(|error| error.to_string())?;
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--kill-child", "--"])
        .arg(binary)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("unshare: {error}"))?;
    Ok(collect(child, name))
}

/// Waits for the child with a bound, reading what it prints meanwhile.
fn collect(mut child: Child, name: &str) -> Output {
    fn read(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            bytes
        })
    }
    let out = read(child.stdout.take().expect("piped"));
    let err = read(child.stderr.take().expect("piped"));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            break status;
        }
        if start.elapsed() > LONGEST {
            child.kill().expect("the child can be ended");
            panic!("{name} did not end within {LONGEST:?}");
        }
        thread::sleep(Duration::from_millis(2));
    };
    let (stdout, stderr) = (out.join().expect("read"), err.join().expect("read"));
    Output { status, stdout, stderr }
}

/// `RTM_NEWLINK` for the first interface with `IFF_UP` (rtnetlink(7)): no tool is needed.
#[cfg(target_os = "linux")]
fn bring_loopback_up() -> std::io::Result<()> {
    use socket2::{Domain, Protocol, Socket, Type};

    const AF_NETLINK: i32 = 16;
    const NETLINK_ROUTE: i32 = 0;
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_AND_ACKNOWLEDGE: u16 = 5;
    const IFF_UP: u32 = 1;

    let mut message = Vec::new();
    message.extend_from_slice(&32u32.to_ne_bytes());
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    // Sequence and port; family and type of the interface.
    message.extend_from_slice(&[0; 4 + 4 + 4]);
    for word in [1, IFF_UP, IFF_UP] {
        message.extend_from_slice(&word.to_ne_bytes());
    }
    let socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_ROUTE)))?;
    socket.send(&message)?;
    let mut answer = [0; 64];
    let length = (&socket).read(&mut answer)?;
    match answer
        .get(16..20)
        .filter(|_| length >= 20)
        .and_then(|errno| errno.try_into().ok())
        .map(i32::from_ne_bytes)
    {
        Some(0) => Ok(()),
        Some(errno) => Err(std::io::Error::from_raw_os_error(-errno)),
        None => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn bring_loopback_up() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_comes_from_the_closure() {
        assert_eq!(test_name("queue::the_queue::{{closure}}"), "the_queue");
        assert_eq!(test_name("crate_name::a::b::test::{{closure}}"), "a::b::test");
    }

    #[test]
    fn a_namespace_is_empty_and_has_a_loopback() {
        isolated(|| {
            assert!(crate::tcp_sockets().is_empty());
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let clients = crate::connect(listener.local_addr().unwrap(), 1);
            assert_eq!(clients.len(), 1);
        });
    }
}
