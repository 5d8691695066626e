//! A page's commands, run one after the other in one shell, in a folder of their own.

use std::{
    env, fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::Path,
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::page::{Marker, Page, Step};
use crate::support::{console::timeless, process::Process, until};

/// Runs what is asked for by files, each in the same shell. Where the tests are killed, nothing of it stays.
const LOOP: &str = r#"
(while kill -0 $PPID; do sleep 1; done; kill -KILL 0) >/dev/null 2>&1 &
disown
for ((step = 0; ; step++)); do
  until [ -e "$STEPS/$step.sh" ]; do sleep 0.03; done
  . "$STEPS/$step.sh" >"$STEPS/$step.out" 2>&1
  echo $? >"$STEPS/status"
  mv "$STEPS/status" "$STEPS/$step.status"
done
"#;

/// A shell with `loadline` on its `PATH`, in a folder with this repository's `deploy`. Everything that it has started ends with it.
pub(super) struct Session {
    shell: Process,
    folder: TempDir,
    steps: TempDir,
    count: usize,
    /// Ports as they are written, and as they are here.
    ports: Vec<(&'static str, u16)>,
}

impl Session {
    pub(super) fn start(ports: Vec<(&'static str, u16)>) -> Self {
        let (folder, steps) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        symlink(deploy, folder.path().join("deploy")).unwrap();
        let ours = Path::new(env!("CARGO_BIN_EXE_loadline")).parent().unwrap();
        let path = env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .args(["-c", LOOP])
            .current_dir(folder.path())
            .process_group(0)
            .env("PATH", format!("{}:{path}", ours.display()))
            .env("HOME", folder.path())
            .env("STEPS", steps.path())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("KUBECONFIG")
            .env_remove("RUST_LOG");
        let shell = Process::start(command, "it is everywhere");
        Self { shell, folder, steps, count: 0, ports }
    }

    /// Runs everything of a page that is to be run. Its files are there from the beginning, in the first version that the page
    /// shows of them; the next version is written where it stands.
    pub(super) async fn run(&mut self, page: &Page) {
        for block in page.blocks.iter().rev() {
            if let Ok(Some(Marker::File(name))) = block.marker() {
                self.write(&name, &block.text);
            }
        }
        for block in &page.blocks {
            match block.marker() {
                Ok(Some(Marker::File(name))) => self.write(&name, &block.text),
                Ok(Some(Marker::Run)) => {
                    for step in block.steps() {
                        self.step(&format!("{}:{}", page.path, block.line), &step).await;
                    }
                }
                _ => {}
            }
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, self.here(text)).unwrap();
    }

    /// A command that does something is run once, and has to succeed. One that shows something is run until it shows what the
    /// page says.
    async fn step(&mut self, place: &str, step: &Step) {
        let Some(shown) = &step.shown else {
            let (code, output) = self.command(&step.command).await;
            assert_eq!(code, 0, "{place}: {}\n{output}", step.command);
            return;
        };
        let mut last = String::new();
        until(&format!("{place}: the command shows what the page says"), async || {
            let (_, output) = self.command(&step.command).await;
            if looks_like(shown, &output) {
                return Some(());
            }
            if output != last {
                println!("{place}: $ {}\n{output}", step.command);
                last = output;
            }
            None
        })
        .await;
    }

    /// Runs one, and gives back how it ended and what it wrote.
    async fn command(&mut self, command: &str) -> (i32, String) {
        let file = |kind: &str| self.steps.path().join(format!("{}.{kind}", self.count));
        let (script, output, status) = (file("sh"), file("out"), file("status"));
        let started = file("new");
        fs::write(&started, self.here(command)).unwrap();
        fs::rename(started, script).unwrap();
        self.count += 1;
        let status = until(command, async || fs::read_to_string(&status).ok()).await;
        let output = fs::read(output).unwrap();
        let output = self.as_written(&String::from_utf8_lossy(&output));
        (status.trim().parse().unwrap(), output)
    }

    /// A text of the page with the ports that things have here. loadline takes a free one, and writes a kubeconfig that says which.
    fn here(&self, text: &str) -> String {
        let text = text.replace("--secure-port=6443", "--secure-port=0");
        self.ports.iter().fold(text, |text, (written, here)| {
            text.replace(&format!("127.0.0.1:{written}"), &format!("127.0.0.1:{here}"))
        })
    }

    /// The other way round.
    fn as_written(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (written, here)| {
            text.replace(&format!("127.0.0.1:{here}"), &format!("127.0.0.1:{written}"))
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let group = i32::try_from(self.shell.id()).ok().and_then(Pid::from_raw);
        let group = group.expect("the shell has a group of its own");
        // It may all have ended by itself.
        kill_process_group(group, Signal::KILL).unwrap_or_default();
    }
}

/// Whether an output is what a page shows, but for times. `…` on the page stands for anything.
pub(super) fn looks_like(shown: &str, output: &str) -> bool {
    let lines = |text| timeless(text).lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let (shown, output) = (lines(shown), lines(output));
    let mut pieces = shown.split('…');
    let Some(mut rest) = pieces.next().and_then(|first| output.strip_prefix(first)) else {
        return false;
    };
    let mut pieces: Vec<_> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}
