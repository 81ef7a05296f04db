//! Every test of the whole: real binaries, real files, real HTTP. Each test has a router and a volume of
//! its own.

mod admin;
mod bad_input;
mod bodies;
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
