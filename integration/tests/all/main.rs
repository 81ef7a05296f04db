//! Every test of the whole: real binaries, real files, real HTTP. Each test has a router and a volume of
//! its own.

mod admin;
mod bad_input;
mod bodies;
mod bridge_answers;
mod bridge_away;
mod bridge_broken;
mod bridge_client;
mod bridge_deploy;
mod bridge_events;
mod bridge_forward;
mod bridge_history;
mod bridge_kills;
mod bridge_many;
mod bridge_names;
mod bridge_refusals;
mod bridge_routers;
mod bridge_tokens;
mod bridge_volume;
mod broken;
mod build;
mod churn;
mod crashes;
mod draining;
mod events;
mod forwarding;
mod handlers;
mod ingress;
mod language;
mod problems;
mod reload;
mod restart;
mod routing;
mod scan;
mod unseen;
