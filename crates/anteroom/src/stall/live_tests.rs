//! Real threads, looked at while they sleep, wait, read and compute.
//!
//! Owns the claim that the kernel's files say what the parsers take them to say. Never parses anything.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use super::machine::Machine;
use super::thread::{Clocks, Moment, clocks, doing, moment, own_id};
use crate::observe::Doing;
use crate::tick::Tick;

/// How long a loaded machine may take over anything here.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let give_up = Tick::now() + PATIENCE;
    while !so() {
        assert!(Tick::now() < give_up, "{what}: not within {PATIENCE:?}");
        thread::yield_now();
    }
}

/// Starts a thread and learns its id.
fn started<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> (u32, thread::JoinHandle<T>) {
    let (tell, told) = mpsc::sync_channel(1);
    let handle = thread::spawn(move || {
        tell.send(own_id()).unwrap();
        body()
    });
    (told.recv().unwrap().expect("a kernel with /proc"), handle)
}

fn doing_now(thread: u32) -> Doing {
    doing(moment(thread), Duration::ZERO)
}

#[test]
fn each_thread_has_an_id_of_its_own() {
    let listed = |id: u32| std::fs::exists(format!("/proc/self/task/{id}")).unwrap();
    let (end, ended) = mpsc::sync_channel::<()>(1);
    let (other, handle) = started(move || ended.recv());
    let own = own_id().unwrap();
    assert_ne!(own, other);
    assert_eq!(own_id(), Some(own));
    assert!(listed(own) && listed(other));
    drop(end);
    handle.join().unwrap().unwrap_err();
}

#[test]
fn a_thread_that_sleeps_is_told_by_call_and_place() {
    // Nothing can wake it: it is left to sleep, and ends with the process.
    let (sleeper, _left) = started(|| thread::sleep(2 * PATIENCE));
    until("it sleeps", || doing_now(sleeper) == Doing::Sleeping);
    let Moment::InKernel { call, place } = moment(sleeper) else { panic!("{:?}", moment(sleeper)) };
    assert!(call.is_some_and(|call| call.ends_with("nanosleep")), "{call:?}");
    assert!(place.as_deref().is_none_or(|place| place == "hrtimer_nanosleep"), "{place:?}");
}

#[test]
fn a_thread_that_wants_a_lock_waits_in_futex() {
    let lock = Arc::new(Mutex::new(()));
    let held = lock.lock().unwrap();
    let (waiter, handle) = started({
        let lock = Arc::clone(&lock);
        move || drop(lock.lock())
    });
    until(
        "it waits",
        || matches!(doing_now(waiter), Doing::Waiting { call: Some(call), place } if call == "futex" && place.as_deref().is_none_or(|place| place.contains("futex"))),
    );
    drop(held);
    handle.join().unwrap();
}

#[test]
fn a_thread_that_reads_a_pipe_waits_in_read() {
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = cat.stdout.take().unwrap();
    let (reader, handle) = started(move || pipe.read(&mut [0; 1]));
    until(
        "it reads",
        || matches!(doing_now(reader), Doing::Waiting { call: Some(call), place } if call == "read" && place.as_deref().is_none_or(|place| place.contains("pipe"))),
    );
    drop(cat.stdin.take());
    assert_eq!(handle.join().unwrap().unwrap(), 0);
    cat.wait().unwrap();
}

#[test]
fn a_thread_that_computes_burns_and_the_process_with_it() {
    let before = Machine::now();
    let enough = Arc::new(AtomicBool::new(false));
    let (burner, handle) = started(burn(&enough));
    let first = clocks(burner);
    until("it runs", || moment(burner) == Moment::Running);
    until("its clock moves on", || match (first, clocks(burner)) {
        (Some(Clocks { cpu: first, .. }), Some(now)) => now.cpu >= first + Duration::from_millis(50),
        _ => false,
    });
    // Two counters of the kernel for the same work, one of them in steps of 10 ms.
    until("the process's clock moves on", || {
        Machine::now().since(&before).cpu.unwrap() >= Duration::from_millis(50)
    });
    enough.store(true, Ordering::Relaxed);
    handle.join().unwrap();
}

#[test]
fn threads_that_share_a_processor_wait_for_it_and_burn_less_than_they_want() {
    let enough = Arc::new(AtomicBool::new(false));
    let too_many = thread::available_parallelism().unwrap().get() + 1;
    let burners: Vec<_> = (0..too_many).map(|_| started(burn(&enough))).collect();
    let before = Machine::now();
    until("one of them waits", || {
        burners
            .iter()
            .any(|(id, _)| clocks(*id).is_some_and(|clocks| clocks.runnable >= Duration::from_millis(50)))
    });
    // Whoever waits for a processor is ready to run, and is told as running.
    until("all of them run", || burners.iter().all(|(id, _)| moment(*id) == Moment::Running));
    until("the host is under pressure, or does not tell", || {
        Machine::now().since(&before).pressure.is_none_or(|pressure| !pressure.is_zero())
    });
    enough.store(true, Ordering::Relaxed);
    for (_, handle) in burners {
        handle.join().unwrap();
    }
}

fn burn(enough: &Arc<AtomicBool>) -> impl FnOnce() + Send + 'static {
    let enough = Arc::clone(enough);
    move || {
        while !enough.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn a_thread_that_has_ended_and_one_of_another_process_are_unknown() {
    let (gone, handle) = started(|| ());
    handle.join().unwrap();
    until("the kernel has forgotten it", || moment(gone) == Moment::Unknown && clocks(gone).is_none());

    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    assert_eq!((moment(cat.id()), clocks(cat.id())), (Moment::Unknown, None));
    drop(cat.stdin.take());
    cat.wait().unwrap();
}
