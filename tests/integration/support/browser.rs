//! A real browser without a window, spoken to by the `DevTools` protocol over two pipes.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The names under which the browser may be installed.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The variable that says by `1` that no browser is wanted.
const SKIP: &str = "LOADLINE_SKIP_BROWSER";

/// A browser with one page. Its calls block.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: String,
    sent: u64,
    /// How many pages were loaded.
    loads: u64,
    /// Errors that the console shows, and requests that failed.
    pub(crate) complaints: Vec<String>,
    _profile: TempDir,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) scheme: &'static str,
}

impl Browser {
    /// Starts it; nothing if the environment says that no browser is wanted. Fails where none is installed.
    pub(crate) fn start() -> Option<Self> {
        if std::env::var_os(SKIP).is_some_and(|value| value == "1") {
            eprintln!("NOT TESTED in a browser, as {SKIP}=1 says");
            return None;
        }
        let is_there = |program: &&&str| {
            let found = Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            found.is_ok_and(|status| status.success())
        };
        let program = PROGRAMS.iter().find(is_there);
        let program = program.unwrap_or_else(|| {
            panic!(
                "none of {PROGRAMS:?} is installed: run scripts/install-test-tools, or set {SKIP}=1"
            )
        });
        let profile = tempfile::tempdir().expect("a temporary folder");
        // It reads commands from descriptor 3, and writes answers to 4.
        // Whatever happens, it ends: a test that waits for it in vain fails then.
        let script = "exec timeout 180 \"$@\" 3<&0 4>&1 >/dev/null 2>&1 </dev/null";
        let mut child = Command::new("bash")
            .args(["-c", script, "browser", program])
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args([
                "--remote-debugging-pipe",
                "--hide-scrollbars",
                "--no-proxy-server",
                "--disable-background-networking",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash");
        let commands = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut browser = Self {
            child,
            commands,
            answers,
            session: String::new(),
            sent: 0,
            loads: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// Sends a command, and waits for what it returns.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let mut command = json!({"id": self.sent, "method": method, "params": parameters});
        if !self.session.is_empty() {
            command["sessionId"] = self.session.as_str().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).expect("the browser runs");
        loop {
            let message = self.next();
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// Waits for a page after so many.
    fn until_loaded(&mut self, before: u64) {
        while self.loads == before {
            self.next();
        }
    }

    fn next(&mut self) -> Value {
        let mut message = Vec::new();
        self.answers.read_until(0, &mut message).expect("the browser runs");
        message.pop();
        let message: Value = serde_json::from_slice(&message).expect("JSON");
        let what = &message["params"];
        match message["method"].as_str() {
            Some("Log.entryAdded") if what["entry"]["level"] == "error" => {
                self.complaints.push(what["entry"].to_string());
            }
            Some("Runtime.exceptionThrown" | "Network.loadingFailed") => {
                self.complaints.push(what.to_string());
            }
            Some("Page.loadEventFired") => self.loads += 1,
            _ => {}
        }
        message
    }

    /// Looks at a page, and waits until all of it is there.
    pub(crate) fn open(&mut self, url: &str, look: Look) {
        let Look { width, scheme } = look;
        let metrics =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &feature);
        self.call("Page.navigate", &json!({"url": "about:blank"}));
        let before = self.loads;
        self.call("Page.navigate", &json!({"url": url}));
        self.until_loaded(before);
        while self.evaluate("location.href") != url {
            self.until_loaded(self.loads);
        }
    }

    /// What an expression is, outside of what the page may do.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let answer = json!({"expression": expression, "returnByValue": true});
        self.call("Runtime.evaluate", &answer)["result"]["value"].clone()
    }

    /// Does something that leads to another page.
    pub(crate) fn follow(&mut self, expression: &str) {
        let before = self.loads;
        self.evaluate(expression);
        self.until_loaded(before);
    }

    /// A picture of the whole page, as PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", &whole);
        BASE64_STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }
}
