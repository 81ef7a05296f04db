//! The scene of a fault: a router with a small policy, a victim project, and the facts that the
//! offender gets about both.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use serde_json::{Value, json};
use switchyard_contract::admin::{ProjectState, ReloadOutcome, Status};
use switchyard_contract::event::{DeathReason, EventType};

use super::trap::Trap;
use super::{Ending, Fault};
use crate::bystander::{self, Bystander};
use crate::client::{Reply, post};
use crate::events::Events;
use crate::router::{Builder, Router};
use crate::usage::socket_files;
use crate::volume::Volume;
use crate::{eventually, within};

/// The secret of the victim. The router's environment has it too.
pub const SECRET: &str = "hunter2-8f1d0c";

const VICTIM: &str = "victim";

/// Small, so that a test is quick; and long enough for a busy machine.
const LIMITS: &str = "memory = \"128MB\"\nevent_loop = \"2s\"\nworkers = 4\nfiles = 256\ndisk = \"20MB\"\n";

/// Keeps a secret in its files, its data and its environment.
const KEEPS: &str =
    "Deno.writeTextFileSync(Deno.env.get('DATA_DIR') + '/secret.txt', Deno.env.get('SECRET'));
    export default { fetch: () => new Response('kept') };\n";

/// A router with a bystander, a victim, and offenders to be.
#[derive(Debug)]
pub struct Scene {
    pub router: Router,
    volume: Volume,
    trap: Trap,
}

/// The expected end of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Died(DeathReason),
    Said(u16),
    SaidAndDied(u16, DeathReason),
    BrokeOff,
    TimedOut,
    /// The number of attempts.
    Refused(usize),
}

impl Scene {
    /// With one project, which has the fault.
    pub async fn of(fault: &Fault) -> Self {
        let scene = Self::with([(fault.project(), fault)]).await;
        scene.offer(&fault.project(), fault, "").await;
        scene
    }

    /// Ready for projects of these names; they are there when they are [offered](Self::offer).
    pub async fn with<'a>(offenders: impl IntoIterator<Item = (String, &'a Fault)>) -> Self {
        Self::with_router(offenders, |builder, _| builder).await
    }

    /// The same, with a router that is changed before it starts.
    pub async fn with_router<'a>(
        offenders: impl IntoIterator<Item = (String, &'a Fault)>,
        change: impl FnOnce(Builder, &Volume) -> Builder,
    ) -> Self {
        let (volume, trap) = (Volume::new(), Trap::set().await);
        bystander::write(&volume);
        let victim = volume.project(VICTIM).file("main.ts", KEEPS).file("secret.txt", SECRET);
        let victim = victim.file("secret.mjs", format!("export const secret = '{SECRET}';"));
        let victim = victim.file("worker.mjs", format!("postMessage('{SECRET}');"));
        let victim = victim.file("secret.json", format!("[\"{SECRET}\"]"));
        victim.file("secret.cjs", format!("module.exports = '{SECRET}';")).write();
        let mut policy = format!("[projects.{VICTIM}.env]\nSECRET = \"{SECRET}\"\n");
        for (name, fault) in offenders {
            let _ = write!(
                policy,
                "[projects.{name}.limits]\n{LIMITS}{}\n[projects.{name}.permissions]\nprivate_net = [\"127.0.0.1:{}\"]\n",
                fault.limits, trap.allowed,
            );
        }
        volume.write("_policy/policy.toml", policy);
        let router = change(Self::builder(&volume), &volume).start().await;
        trap.lead_to(router.admin.client.address);
        Self { router, volume, trap }
    }

    fn builder(volume: &Volume) -> Builder {
        Router::builder(volume)
            .unwatched()
            .env("ROUTER_SECRET", SECRET)
            .flag("policy", volume.path("_policy/policy.toml").display())
            .flag("grace", 2000)
    }

    /// Puts a project there that has the fault. Another `mark` makes another version of it.
    pub async fn offer(&self, name: &str, fault: &Fault, mark: &str) {
        let sources = fault.sources().into_iter();
        let project =
            sources.fold(self.volume.project(name), |project, (path, text)| project.file(&path, text));
        project.file("mark.txt", mark).write();
        for (at, target) in fault.links {
            self.volume.link(target, &format!("{name}/{at}"));
        }
        let report = self.router.admin.reload(name).await;
        assert_eq!(report.outcome, ReloadOutcome::Live, "{name}: {report:?}");
    }

    /// Takes a project away, with its cell.
    pub async fn remove(&self, name: &str) {
        self.volume.remove(name);
        let report = self.router.admin.reload(name).await;
        assert_eq!(report.outcome, ReloadOutcome::Removed, "{name}: {report:?}");
    }

    /// Has a project's code replaced by another one, which must not be served.
    pub async fn refuses_to_build(
        &self,
        name: &str,
        files: &[(&str, String)],
        links: &[(&str, &str)],
    ) -> String {
        for (path, text) in files {
            self.volume.write(&format!("{name}/{path}"), text);
        }
        for (at, target) in links {
            self.volume.link(target, &format!("{name}/{at}"));
        }
        let report = self.router.admin.reload(name).await;
        assert_eq!(report.outcome, ReloadOutcome::Failed, "{report:?}");
        report.error.expect("it says why").message
    }

    pub async fn bystander(&self) -> Bystander {
        Bystander::start(&self.router).await
    }

    /// Has the project do it, and sees that it ends as it should and that the project answers again.
    ///
    /// # Panics
    /// When it does not.
    pub async fn commit(&self, name: &str, fault: &Fault) -> Outcome {
        let mut events = Events::follow(&self.router.admin.client, None).await;
        let public = &self.router.public;
        assert_eq!(public.get(&format!("/{VICTIM}/")).await.text(), "kept");
        let status = self.status(name).await;
        let facts = serde_json::to_vec(&self.facts(name).await).expect("it is plain data");
        let mut connection = public.connect().await;
        let pending = connection.try_send(post(&format!("/{name}/"), facts));
        let answer = within(&format!("{name} is over"), pending).await;
        let outcome = self.judge(name, fault.ending, answer, &mut events).await;
        self.answers(name).await;
        if let Ending::Suffers(reasons) = fault.ending {
            let deaths = events.all().into_iter().filter(|event| event.data.project == name);
            for death in deaths.filter_map(|event| event.data.death) {
                assert!(reasons.contains(&death.reason), "{name}: {death:?}");
            }
            return outcome;
        }
        let died = events.count(EventType::CellDied, name);
        assert_eq!(died, usize::from(outcome.has_died()), "{name}: {:#?}", events.all());
        if died == 0 && status.state == ProjectState::Live {
            assert_eq!(self.status(name).await.pid, status.pid, "{name}: its cell kept running");
        }
        assert!(!self.trap.was_reached(), "{name}: a datagram has come");
        let secret = self.volume.read(&format!("{VICTIM}/secret.txt"));
        assert_eq!(secret, SECRET, "{name}: another project's file was changed");
        outcome
    }

    /// Waits until the project behaves as expected.
    async fn answers(&self, name: &str) {
        let path = format!("/{name}/");
        eventually(&format!("{name} answers again"), || async {
            let mut connection = self.router.public.connect().await;
            let reply = connection.try_send(crate::client::request(&path)).await;
            reply.is_ok_and(|reply| reply.status == 200 && reply.text() == "here")
        })
        .await;
    }

    async fn judge(
        &self,
        name: &str,
        ending: Ending,
        answer: anyhow::Result<Reply>,
        events: &mut Events,
    ) -> Outcome {
        let says = |status: u16| matches!(&answer, Ok(reply) if reply.status == status);
        match ending {
            Ending::DiesOrSays(_, status) if says(status) => Outcome::Said(status),
            Ending::Dies(reasons) | Ending::DiesOrSays(reasons, _) => {
                let reply = answer.expect("the router answers");
                let problem = reply.assert_problem(502, "cell-died").to_string();
                for inner in ["exit code", "signal", "memory", "event loop"] {
                    assert!(!problem.contains(inner), "inner detail: {problem}");
                }
                Outcome::Died(self.death(name, reasons, events).await)
            }
            Ending::SaysAndDies(reasons) => {
                let reply = answer.expect("the project has answered");
                assert_eq!(reply.status, 200, "{}", reply.text());
                Outcome::SaidAndDied(200, self.death(name, reasons, events).await)
            }
            Ending::Says(status) => {
                let reply = answer.expect("the project answers");
                assert_eq!(reply.status, status, "{name}: {}", reply.text());
                Outcome::Said(status)
            }
            Ending::BreaksOff => {
                assert!(
                    answer.is_err(),
                    "{name}: a response that is cut off does not look complete: {answer:?}"
                );
                Outcome::BrokeOff
            }
            Ending::TimesOut => {
                answer.expect("the router answers").assert_problem(504, "timeout");
                Outcome::TimedOut
            }
            Ending::Suffers(_) => {
                let status = answer.expect("the router answers").status;
                assert!([200, 500, 502].contains(&status), "{name}: {status}");
                Outcome::Said(status)
            }
            Ending::Refused => Outcome::Refused(refused(name, &answer.expect("the project answers"))),
        }
    }

    /// Returns the reason why the cell crashed: one of these, and the same in all reports.
    async fn death(&self, name: &str, reasons: &[DeathReason], events: &mut Events) -> DeathReason {
        let died = events.wait_for(EventType::CellDied, name).await;
        let death = died.data.death.expect("it says how");
        assert!(reasons.contains(&death.reason), "{name}: {death:?}");
        let shown = self.status(name).await.crashes;
        assert!(shown.iter().any(|shown| shown.death == death), "{name}: {shown:?} has no {death:?}");
        death.reason
    }

    async fn status(&self, name: &str) -> Status {
        self.router.admin.project(name).await
    }

    /// The facts that the offender gets: more than a project could find out.
    async fn facts(&self, name: &str) -> Value {
        let victim = self.status(VICTIM).await;
        json!({
            "name": name,
            "secret": SECRET,
            "router": self.router.pid().as_raw_nonzero().get(),
            "victim": victim.pid,
            "admin": self.router.admin.client.address.port(),
            "public": self.router.public.address.port(),
            "hosts": loopback_names(),
            "allowed": self.trap.allowed,
            "trap": self.trap.port(),
            "free": free_port(),
            "volume": self.volume.root(),
            "state": self.router.state.path(),
            "version": victim.live.map(|live| live.version),
            "checkout": self.checkout().await,
            "socket": self.socket(victim.pid.expect("the victim runs")),
        })
    }

    /// Returns the folder of the victim's files that its cell uses.
    pub async fn checkout(&self) -> PathBuf {
        let live = self.status(VICTIM).await.live.expect("the victim is live");
        let checkout = self.router.state.path().join("checkouts").join(live.version).join(VICTIM);
        assert!(checkout.join("secret.txt").is_file(), "{} is no checkout", checkout.display());
        checkout
    }

    /// Returns the path of a cell's socket.
    fn socket(&self, pid: u32) -> PathBuf {
        let state = self.router.state.path();
        socket_files(pid)
            .into_iter()
            .find(|path| path.starts_with(state))
            .expect("the victim listens below the state folder")
    }
}

impl Outcome {
    /// Returns true if the cell is another process now.
    pub fn has_died(&self) -> bool {
        matches!(self, Self::Died(_) | Self::SaidAndDied(..))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Died(reason) => write!(f, "died: {}", reason.as_str()),
            Self::Said(status) => write!(f, "said {status}"),
            Self::SaidAndDied(status, reason) => write!(f, "said {status}, died: {}", reason.as_str()),
            Self::BrokeOff => write!(f, "broke off"),
            Self::TimedOut => write!(f, "timed out"),
            Self::Refused(tries) => write!(f, "refused {tries} times"),
        }
    }
}

/// Returns the number of refused attempts.
///
/// # Panics
/// An attempt was not refused, or failed for another reason than permissions.
fn refused(name: &str, reply: &Reply) -> usize {
    assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    let tries: BTreeMap<String, String> =
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()));
    let came_through = |came: &&String| {
        let let_through = ["ECONNREFUSED", "Connection refused", "no answer", SECRET];
        came.starts_with("got") || let_through.iter().any(|sign| came.contains(sign))
    };
    let got: BTreeMap<_, _> = tries.iter().filter(|(_, came)| came_through(came)).collect();
    assert!(got.is_empty(), "{name}: {got:#?}\nof {tries:#?}");
    tries.len()
}

/// The addresses and names by which this machine reaches itself.
fn loopback_names() -> Vec<String> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let lines = hosts.lines().filter(|line| line.starts_with("127.") || line.starts_with("::1"));
    let names = lines.flat_map(|line| line.split_ascii_whitespace().skip(1)).map(ToOwned::to_owned);
    let mut all: Vec<_> =
        ["127.0.0.1", "localhost", "[::1]"].map(ToOwned::to_owned).into_iter().chain(names).collect();
    all.sort();
    all.dedup();
    all
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}
