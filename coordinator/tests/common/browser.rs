//! Debian's `chromium` without a window, spoken to over its own pipes (the DevTools protocol): a page as it is
//! at a width, in a scheme of colours, on paper, under a keyboard.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Long enough for a loaded machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(90);
/// Descriptors 3 and 4 are what the protocol is spoken on; a shell can put them there, Rust cannot without
/// unsafe code.
const PIPES: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";

/// A browser with one page open. Dropping it ends it.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: String,
    number: u64,
    complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// `None`, said in a line, where no chromium is installed.
    pub fn start() -> Option<Self> {
        if Command::new("chromium").arg("--version").output().is_err() {
            eprintln!("left out: chromium is not installed");
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", PIPES, "chromium", "--headless=new", "--no-sandbox"]);
        command.args(["--disable-gpu", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        // A group of its own, so that its helpers end with it.
        command.process_group(0);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, from) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).unwrap();
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            from,
            session: String::new(),
            number: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let page = browser.ask("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Log", "Runtime"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Goes to a page and waits until it is loaded.
    pub fn open(&mut self, url: &str) {
        let gone = self.ask("Page.navigate", json!({"url": url}));
        assert!(gone.get("errorText").is_none(), "{url}: {gone}");
        let loaded = "new Promise(done => document.readyState === 'complete' ? done(1) : addEventListener('load', () => done(1)))";
        self.evaluate(loaded);
    }

    /// The value of an expression in the page, awaited where it is a promise.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let what = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut said = self.ask("Runtime.evaluate", what);
        assert!(said.get("exceptionDetails").is_none(), "{said}");
        said["result"]["value"].take()
    }

    /// Waits until an expression in the page is true; panics when it never is.
    pub fn wait_for(&mut self, condition: &str) {
        let began = Instant::now();
        while self.evaluate(condition) != true {
            assert!(began.elapsed() < PATIENCE, "never: {condition}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// As wide as a desk's, a tablet's or a phone's; light or dark.
    pub fn look(&mut self, width: u32, scheme: &str) {
        let size =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", json!({"features": scheme}));
    }

    /// Presses the tabulator.
    pub fn tab(&mut self) {
        for kind in ["rawKeyDown", "keyUp"] {
            let key =
                json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9});
            self.ask("Input.dispatchKeyEvent", key);
        }
    }

    /// The page on A4, and how many sheets that takes.
    pub fn sheets(&mut self) -> usize {
        let paper = json!({"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": true});
        let pdf = self.ask("Page.printToPDF", paper);
        let pdf = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            pdf["data"].as_str().unwrap(),
        );
        let pdf = String::from_utf8_lossy(&pdf.unwrap()).into_owned();
        pdf.matches("/Type /Page\n").count()
    }

    /// What the page's console complained of since it was asked last.
    pub fn complaints(&mut self) -> Vec<String> {
        self.ask("Runtime.evaluate", json!({"expression": "1"}));
        std::mem::take(&mut self.complaints)
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.to.write_all(message.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        loop {
            let mut said = match self.from.recv_timeout(PATIENCE) {
                Ok(said) => said,
                Err(RecvTimeoutError::Timeout) => panic!("no answer to {method}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the browser ended at {method}"),
            };
            if said["id"] == self.number {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].take();
            }
            self.hear(&said);
        }
    }

    fn hear(&mut self, said: &Value) {
        let complaint = match said["method"].as_str() {
            Some("Log.entryAdded") => &said["params"]["entry"]["text"],
            Some("Runtime.exceptionThrown") => &said["params"]["exceptionDetails"]["text"],
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            let _ = nix::sys::signal::killpg(
                nix::unistd::Pid::from_raw(group),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        let _ = self.child.wait();
    }
}
