//! The faults that tests, bench and soak have in common, each as a project that commits it on
//! purpose: process ends, memory, processor time, shared resources, files and secrets, the network.

use std::sync::Arc;

use switchyard_integration::faults::{Fault, KINDS, Scene};
use switchyard_integration::router::State;

use crate::attempt::{Attempt, Verdict, panic_message};
use crate::user::User;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    attempt("H15a", "processor time: loops, expressions, storms, workers", |user| {
        Box::pin(all_of(user, "time"))
    }),
    attempt("H15b", "memory: objects, strings, buffers, wasm, recursion", |user| {
        Box::pin(all_of(user, "memory"))
    }),
    attempt("H15c", "ends: exit, abort, signals, rejections, invalid answers", |user| {
        Box::pin(all_of(user, "ends"))
    }),
    attempt("H15d", "shared resources: workers, processes, descriptors, threads, disk, output", |user| {
        Box::pin(all_of(user, "exhaustion"))
    }),
    attempt(
        "H18",
        "files, modules, secrets and native code of others, by paths, links and imports",
        |user| Box::pin(all_of(user, "files")),
    ),
    attempt("H17", "the network: every notation of loopback, redirects, datagrams, sockets, ports", |user| {
        Box::pin(all_of(user, "network"))
    }),
];

const fn attempt(
    number: &'static str,
    deed: &'static str,
    make: fn(User) -> crate::attempt::Making,
) -> Attempt {
    let broken = "one of them does not end as it should, or the bystander loses a request";
    Attempt { number, severity: "held before", deed, broken, as_each: true, make }
}

/// Commits a fault; `mark` makes another version of its project.
async fn committed(scene: &Arc<Scene>, fault: &'static Fault, mark: &'static str) -> Result<(), String> {
    let scene = scene.clone();
    let committing = tokio::spawn(async move {
        let name = fault.project();
        scene.offer(&name, fault, mark).await;
        scene.commit(&name, fault).await;
        scene.remove(&name).await;
    });
    committing.await.map_err(panic_message)
}

/// Commits all faults of a kind, one after the other.
async fn all_of(user: User, kind: &'static str) -> Verdict {
    let faults: Vec<&'static Fault> =
        KINDS.into_iter().filter(|(name, _)| *name == kind).flat_map(|(_, faults)| faults).collect();
    let named = faults.iter().map(|fault| (fault.project(), *fault));
    let scene = Arc::new(
        Scene::with_router(named, |builder, volume| user.router(builder, volume, &State::new())).await,
    );
    let bystander = scene.bystander().await;
    let mut wrong = Vec::new();
    for fault in &faults {
        // An attempt that takes too long on a busy machine is not a break-in: failures are repeated
        // once.
        if committed(&scene, fault, "first").await.is_ok() {
            continue;
        }
        if let Err(why) = committed(&scene, fault, "second").await {
            wrong.push(format!("{}: {why}", fault.name));
        }
    }
    let failed = bystander.stop().await.failed();
    if failed > 0 {
        wrong.push(format!("{failed} requests of the bystander failed"));
    }
    Verdict::of(wrong, format!("{} of {} ended as they should", faults.len(), faults.len()))
}
