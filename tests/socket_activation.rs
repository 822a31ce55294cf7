//! The example for systemd, started by the program with which systemd tries socket activation out.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on says so")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anteroom::Address;
use anteroom_testkit::{Scratch, isolated};
use anteroom_tests::clients::{read_to_end, send, try_connect};
use anteroom_tests::manager::Manager;
use anteroom_tests::waiting::found;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r";

/// Builds the example, and gives where it is.
fn example() -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--package", "anteroom-examples", "--example", "systemd"]);
    build.args(["--message-format", "json"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = build.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(built.status.success(), "the example is built: {}", built.status);
    let messages = String::from_utf8_lossy(&built.stdout).into_owned();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == "systemd");
    let program = programs.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.expect("cargo tells where it is")
}

/// `systemd-socket-activate`, and what it becomes when the first client comes: the program.
struct Activated(Child);

impl Activated {
    fn start(program: &Path, options: &[&str]) -> Self {
        let mut command = Command::new("systemd-socket-activate");
        let process = command.args(options).arg(program).stdout(Stdio::piped()).spawn();
        Self(process.expect("systemd-socket-activate is installed (Debian: systemd)"))
    }

    /// What it prints, line by line.
    fn said(&mut self) -> impl FnMut() -> String + use<> {
        let mut lines = BufReader::new(self.0.stdout.take().expect("piped")).lines();
        move || lines.next().expect("it says more").expect("a line")
    }

    /// SIGTERM.
    fn terminate(&self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("it is there");
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Asks once the socket is there, and closes.
fn is_served(address: &Address) {
    let client = found("it listens", || try_connect(address).ok());
    send(&client, REQUEST);
    let answer = read_to_end(&client).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello from the anteroom\n"), "{answer}");
}

#[test]
fn it_serves_sockets_by_their_names_and_tells_the_manager_until_sigterm() {
    let scratch = Scratch::new();
    let name = format!("@anteroom-activation-{}", std::process::id());
    let manager = Manager::at(&name);
    let paths = ["public", "admin"].map(|name| scratch.join(name).to_str().expect("UTF-8").to_owned());
    let options = ["--listen", &paths[0], "--listen", &paths[1], "--fdname=public:admin", "--setenv"];
    let notify = format!("NOTIFY_SOCKET={name}");
    let mut activated = Activated::start(&example(), &[&options[..], &[&notify]].concat());

    // The client that has it started is the first that it serves.
    for path in &paths {
        is_served(&format!("unix:{path}").parse().expect("an address"));
    }
    let mut line = activated.said();
    assert!(line().starts_with(&format!("public: listening on unix:{}, ", paths[0])));
    assert!(line().starts_with(&format!("admin: listening on unix:{}, ", paths[1])));
    manager.hears_line("READY=1");
    activated.terminate();
    manager.hears_line("STOPPING=1");
    let report = line();
    assert!(report.starts_with("accepted 2 = served 2"), "{report}");
    assert!(activated.0.wait().expect("its status").success());
    assert!(Path::new(&paths[0]).exists(), "the file is the manager's");
}

#[test]
fn it_serves_a_tcp_socket_whose_port_the_manager_chose() {
    isolated(|| {
        let mut activated = Activated::start(&example(), &["--listen", "127.0.0.1:8080"]);
        is_served(&"127.0.0.1:8080".parse().expect("an address"));
        activated.terminate();
        assert!(activated.0.wait().expect("its status").success());
    });
}
