//! Processes that go with the test that started them.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::until;

/// A running process whose output goes to files. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
    folder: TempDir,
}

/// How a process has ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Nothing where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The loadline that was built with these tests. Nothing of the environment reaches its log.
pub(crate) fn loadline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadline"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

impl Process {
    /// Starts a command. `missing` says what to do where there is no such program.
    pub(crate) fn start(mut command: Command, missing: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name| File::create(folder.path().join(name)).expect("a new file");
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => panic!("`{name}` is missing on the PATH: {missing}"),
            _ => panic!("`{name}` does not start: {error}"),
        });
        Self { child, name, folder }
    }

    /// Starts our own binary.
    pub(crate) fn loadline(arguments: &[&str]) -> Self {
        Self::start(loadline(arguments), "cargo builds it")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub(crate) fn stdout(&self) -> String {
        self.written("stdout")
    }

    /// What it has written to its standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.written("stderr")
    }

    fn written(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect("our own file")
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.id());
        let status = Command::new("sh").args(["-c", &line]).status().expect("a shell");
        assert!(status.success(), "{line}");
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Waits for the end.
    pub(crate) async fn end(mut self) -> Ended {
        let what = format!("`{}` ends", self.name);
        let status = until(&what, async || self.child.try_wait().expect("our own child")).await;
        Ended { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }

    /// The port that the process listens on, once it does. It has to be the only one.
    pub(crate) async fn port(&mut self) -> u16 {
        let what = format!("`{}` listens", self.name);
        until(&what, async || {
            assert!(self.runs(), "`{}` has ended: {}", self.name, self.stderr());
            listening_port(self.id())
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let written = self.stderr();
            let from = written.lines().count().saturating_sub(20);
            let last: Vec<_> = written.lines().skip(from).collect();
            println!("the last lines of `{}`:\n{}", self.name, last.join("\n"));
        }
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Asks Linux, because not every program says which port it was given.
fn listening_port(process: u32) -> Option<u16> {
    let descriptors = fs::read_dir(PathBuf::from(format!("/proc/{process}/fd"))).ok()?;
    let sockets: HashSet<String> = descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok()?.to_str().map(str::to_owned))
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (address, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let is_ours = *state == "0A" && sockets.contains(&format!("socket:[{inode}]"));
        let port = address.rsplit_once(':')?.1;
        is_ours.then(|| u16::from_str_radix(port, 16).expect("a port"))
    })
}
