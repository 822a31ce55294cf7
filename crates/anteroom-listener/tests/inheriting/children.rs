//! A child holds no listener and no accepted socket, so that it keeps no address either.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream},
    os::{
        fd::AsFd,
        unix::{fs::MetadataExt, net::UnixStream},
    },
    process::{Child, Command, Stdio},
};

use anteroom_listener::Listener;
use anteroom_testkit::{BOUND, Scratch, connect, connect_unix, eventually, eventually_gives};

use crate::again::{command, is_child};

/// How many of these sockets the process holds, of those that it has open itself.
fn held(process: u32, sockets: &[&dyn AsFd]) -> usize {
    let open: Vec<_> = fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .collect();
    let is_held = |socket: &&&dyn AsFd| {
        let file = File::from(socket.as_fd().try_clone_to_owned().unwrap());
        let name = format!("socket:[{}]", file.metadata().unwrap().ino());
        open.iter().any(|link| link.as_os_str() == name.as_str())
    };
    sockets.iter().filter(is_held).count()
}

/// Lives until its input ends. Where a child is made by vfork(2) the parent goes on a moment before the kernel closes what
/// is close-on-exec; the child has its new name only after that (`begin_new_exec` in `fs/exec.c`).
fn cat(input: impl Into<Stdio>) -> Child {
    let child = Command::new("cat").stdin(input).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("it has its name", BOUND, || {
        fs::read_to_string(format!("/proc/{}/comm", child.id())).is_ok_and(|name| name == "cat\n")
    });
    child
}

fn end(mut child: Child, input: impl Sized) {
    drop(input);
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_child_holds_no_listener_and_no_accepted_socket() {
    let scratch = Scratch::new();
    let name = scratch.join("children.sock");
    let tcp = Listener::bind("127.0.0.1:0").unwrap();
    let unix = Listener::bind(format!("unix:{}", name.display())).unwrap();
    let _clients = (connect(tcp.local_addr().tcp().unwrap(), 1), connect_unix(&name, 1));
    let accept = |listener: &Listener| eventually_gives("a connection", BOUND, || listener.accept().ok());
    let (over_tcp, over_unix) = (accept(&tcp), accept(&unix));
    let passed = tcp.share().unwrap();
    let sockets: [&dyn AsFd; 5] = [&tcp, &unix, &over_tcp.stream, &over_unix.stream, &passed];

    let (input, end_of_input) = UnixStream::pair().unwrap();
    let child = cat(std::os::fd::OwnedFd::from(input));
    assert_eq!(held(child.id(), &sockets), 0);
    assert_eq!(held(std::process::id(), &sockets), 5, "the look sees what there is");
    end(child, end_of_input);

    let (input, end_of_input) = UnixStream::pair().unwrap();
    let child = cat(std::os::fd::OwnedFd::from(input.try_clone().unwrap()));
    assert_eq!(held(child.id(), &[&input]), 1, "passed on purpose it is held");
    drop(input);
    end(child, end_of_input);
}

#[test]
fn after_a_kill_the_address_can_be_bound_at_once_while_a_grandchild_lives() {
    const NAME: &str = "children::after_a_kill_the_address_can_be_bound_at_once_while_a_grandchild_lives";
    if is_child(NAME) {
        return listen_until_killed();
    }
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        // It ends the grandchild in every case, when it is closed with this test.
        let (input, grandchild_s_end) = UnixStream::pair().unwrap();
        let prepare = format!("exec >&2; export BIND={bind}");
        let input = Stdio::from(std::os::fd::OwnedFd::from(input));
        let mut child = command(NAME, &prepare, input, Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let listens: SocketAddr = said_after("listening ", &mut said).parse().unwrap();
        let mut clients = connect(listens, 3);
        let grandchild: u32 = said_after("grandchild ", &mut said).parse().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let again = Listener::bind(listens).expect("the address is free at once");
        assert!(fs::read_link(format!("/proc/{grandchild}/exe")).is_ok(), "it lives on");
        let _client = TcpStream::connect(listens).unwrap();
        eventually_gives("a new client", BOUND, || again.accept().ok());
        for client in &mut clients {
            client.set_read_timeout(Some(BOUND)).unwrap();
            assert!(!matches!(client.read(&mut [0]), Ok(1..)), "the old connections are over");
        }
        drop(grandchild_s_end);
    }
}

/// The rest of the line that begins so, or has it behind what the test harness wrote.
fn said_after(word: &str, said: &mut impl BufRead) -> String {
    let mut line = String::new();
    while said.read_line(&mut line).unwrap() > 0 {
        if let Some((_, rest)) = line.split_once(word) {
            return rest.trim().to_owned();
        }
        line.clear();
    }
    panic!("the child ended before it said {word}");
}

/// A server with connections, of which one waits in the queue, and a child of its own.
fn listen_until_killed() {
    let listener = Listener::bind(std::env::var("BIND").unwrap().as_str()).unwrap();
    println!("listening {}", listener.local_addr());
    let accept = || eventually_gives("a connection", BOUND, || listener.accept().ok());
    let _open = [accept(), accept()];
    let mut grandchild = cat(Stdio::inherit());
    println!("grandchild {}", grandchild.id());
    grandchild.wait().unwrap();
}
