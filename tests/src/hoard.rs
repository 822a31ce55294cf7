//! Descriptors that something else in the process takes.
//!
//! Owns them. Never takes one that somebody holds: only those that are free.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Open files of no use.
#[derive(Debug, Default)]
pub struct Hoard {
    files: Vec<File>,
    grabbers: Vec<JoinHandle<()>>,
    enough: Arc<AtomicBool>,
}

impl Hoard {
    /// Holds `files`, or as many as it gets, and says how many; what was grabbed is given back first.
    pub fn hold(&mut self, files: usize) -> usize {
        self.enough.store(true, Ordering::Release);
        for grabber in self.grabbers.drain(..) {
            grabber.join().expect("a grabber does not panic");
        }
        self.enough = Arc::default();
        self.files.truncate(files);
        while self.files.len() < files {
            let Ok(file) = open() else { break };
            self.files.push(file);
        }
        self.files.len()
    }

    /// From now on so many threads take every descriptor that becomes free, as fast as they can.
    pub fn grab(&mut self, threads: usize) -> usize {
        for _ in 0..threads {
            let enough = Arc::clone(&self.enough);
            self.grabbers.push(std::thread::spawn(move || {
                let mut grabbed = Vec::new();
                while !enough.load(Ordering::Acquire) {
                    match open() {
                        Ok(file) => grabbed.push(file),
                        Err(_) => std::thread::yield_now(),
                    }
                }
            }));
        }
        self.grabbers.len()
    }
}

fn open() -> std::io::Result<File> {
    File::open("/dev/null")
}
