//! Every test of the whole: real binaries, real files, real HTTP. Each test has a router and a volume of
//! its own.

mod admin;
mod admin_token;
mod bad_input;
mod bodies;
mod broken;
mod build;
mod checkouts;
mod churn;
mod crashes;
mod deploys;
mod draining;
mod events;
mod forwarding;
mod handlers;
mod language;
mod logs;
mod problems;
mod reload;
mod restart;
mod routing;
mod scan;
mod trusted_proxy;
mod unseen;
