//! Every setting of the bridge: its flag, its default and why that number.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::address::{Dns, RouterAddress};
use super::upload_limits::UploadLimits;
use switchyard_edge::forwarded::TrustedProxies;
use switchyard_edge::gate::PublicHost;
use switchyard_program::flags::{Flag, Program, Values, flag};
use switchyard_program::log::LogFormat;

const PROJECTS: &str = "projects";
const LISTEN: &str = "listen";
const TOKEN_FILE: &str = "token-file";
const PUBLIC_HOST: &str = "public-host";
const ROUTER: &str = "router";
const ROUTERS: &str = "routers";
const ADMIN_TOKEN_FILE: &str = "admin-token-file";
const EVENT_SECRET_FILE: &str = "event-secret-file";
const QUORUM: &str = "quorum";
const DEPLOY_TIMEOUT: &str = "deploy-timeout";
const FORWARD: &str = "forward";
const TRUSTED_PROXY: &str = "trusted-proxy";
const REQUEST_TIMEOUT: &str = "request-timeout";
const GRACE: &str = "grace";
const MAX_UPLOADS: &str = "max-uploads";
const MAX_UPLOAD: &str = "max-upload";
const MAX_SIZE: &str = "max-size";
const MAX_FILES: &str = "max-files";
const MAX_DEPTH: &str = "max-depth";
const MAX_NAME: &str = "max-name";
const MAX_PART_HEADERS: &str = "max-part-headers";
const MAX_BOUNDARY: &str = "max-boundary";
const UPLOAD_TIMEOUT: &str = "upload-timeout";
const KEEP_REMOVED: &str = "keep-removed";
const LOG_FORMAT: &str = "log-format";

const FLAGS: &[Flag] = &[
    flag(PROJECTS, "DIR", "", "the volume that the routers serve (required)"),
    flag(LISTEN, "ADDR", "127.0.0.1:9000", "where deploys and events come in"),
    flag(TOKEN_FILE, "FILE", "", "who may do what (TOML); without it only a loopback address is listened on"),
    flag(
        PUBLIC_HOST,
        "NAME",
        "",
        "a name besides localhost under which --listen may be asked without a token; once for each",
    )
    .repeated(),
    flag(ROUTER, "PUBLIC,ADMIN", "", "a router's two URLs; once for each replica").repeated(),
    flag(
        ROUTERS,
        "dns://NAME:PORT,PORT",
        "",
        "the replicas are all addresses of that name (public and admin port)",
    ),
    flag(ADMIN_TOKEN_FILE, "FILE", "", "the token that the routers' admin listeners ask for"),
    flag(EVENT_SECRET_FILE, "FILE", "", "the secret that the routers sign their events with"),
    flag(
        QUORUM,
        "N",
        "",
        "how many routers must serve a deploy before it is answered 200 [all that can be reached]",
    ),
    flag(DEPLOY_TIMEOUT, "MS", "30000", "from the received upload to the answer"),
    flag(FORWARD, "ADDR", "", "where requests for projects come in and are forwarded to routers [off]"),
    flag(TRUSTED_PROXY, "CIDR,...", "", "who may say where a forwarded request came from"),
    flag(
        REQUEST_TIMEOUT,
        "MS",
        "60000",
        "how long a router may take to begin its answer to a forwarded request, from its end",
    ),
    flag(GRACE, "MS", "30000", "how long deploys and requests may take to finish when the bridge stops"),
    // Each holds a connection, a staging folder and a few hundred kilobytes of buffers.
    flag(MAX_UPLOADS, "N", "32", "deploys that are received at once; beyond it 503"),
    flag(MAX_UPLOAD, "BYTES", "104857600", "largest upload on the wire"),
    flag(MAX_SIZE, "BYTES", "524288000", "largest upload when unpacked"),
    flag(MAX_FILES, "N", "20000", "files and folders in an upload"),
    flag(MAX_DEPTH, "N", "32", "folders in one another"),
    // The limit of Linux' file systems.
    flag(MAX_NAME, "BYTES", "255", "longest name of a file or folder"),
    flag(MAX_PART_HEADERS, "BYTES", "8192", "headers of one part of an upload"),
    // RFC 2046, 5.1.1.
    flag(MAX_BOUNDARY, "BYTES", "70", "boundary between the parts of an upload"),
    flag(UPLOAD_TIMEOUT, "MS", "300000", "how long an upload may take"),
    // Thirty days: a project that is missed at the end of the month is still there.
    flag(
        KEEP_REMOVED,
        "MS",
        "2592000000",
        "how long the versions and the data of a removed project are kept, for a rollback",
    ),
    flag(LOG_FORMAT, "FORMAT", "text", "text or json"),
];

pub const PROGRAM: Program = Program {
    name: "switchyard bridge",
    about: "puts projects on the routers' volume and tells when they are live; forwards requests to routers",
    usage: "--projects DIR --router PUBLIC,ADMIN [flags]",
    operands: 0,
    flags: FLAGS,
};

/// All settings, valid in themselves. What they name has not been looked at yet.
#[derive(Debug, Clone)]
pub struct Config {
    pub projects: PathBuf,
    pub listen: SocketAddr,
    pub token_file: Option<PathBuf>,
    pub public_hosts: Vec<PublicHost>,
    pub routers: Vec<RouterAddress>,
    pub dns: Option<Dns>,
    pub admin_token_file: Option<PathBuf>,
    pub event_secret_file: Option<PathBuf>,
    pub quorum: Option<usize>,
    pub deploy_timeout: Duration,
    pub forward: Option<SocketAddr>,
    pub trusted: TrustedProxies,
    pub request_timeout: Duration,
    pub grace: Duration,
    pub max_uploads: usize,
    pub limits: UploadLimits,
    pub keep_removed: Duration,
    pub log_format: LogFormat,
}

impl Config {
    /// Reads every setting; what is wrong is noted in `values`.
    pub fn read(values: &mut Values<'_>) -> Self {
        let routers = routers(values);
        let dns = values.optional(ROUTERS).and_then(|text| {
            text.parse::<Dns>().map_err(|error| values.problem(ROUTERS, error.to_string())).ok()
        });
        if routers.is_empty() && values.optional(ROUTERS).is_none() && values.all(ROUTER).is_empty() {
            values.problem(
                ROUTER,
                "is required: http://127.0.0.1:8000,http://127.0.0.1:8001, or --routers dns://…",
            );
        }
        Self {
            projects: values.required(PROJECTS, "the directory that holds the projects").into(),
            listen: values.address(LISTEN),
            token_file: values.optional(TOKEN_FILE).map(PathBuf::from),
            public_hosts: values.parsed_all(PUBLIC_HOST),
            routers,
            dns,
            admin_token_file: values.optional(ADMIN_TOKEN_FILE).map(PathBuf::from),
            event_secret_file: values.optional(EVENT_SECRET_FILE).map(PathBuf::from),
            quorum: values.optional(QUORUM).is_some().then(|| size(values, QUORUM)),
            deploy_timeout: values.millis(DEPLOY_TIMEOUT, 100),
            forward: values.optional(FORWARD).is_some().then(|| values.address(FORWARD)),
            trusted: values.parsed(TRUSTED_PROXY, TrustedProxies::default()),
            request_timeout: values.millis(REQUEST_TIMEOUT, 1),
            grace: values.millis(GRACE, 0),
            max_uploads: size(values, MAX_UPLOADS),
            limits: UploadLimits {
                body: values.number(MAX_UPLOAD, 1),
                size: values.number(MAX_SIZE, 1),
                files: size(values, MAX_FILES),
                depth: size(values, MAX_DEPTH),
                name: size(values, MAX_NAME),
                part_headers: size(values, MAX_PART_HEADERS),
                boundary: size(values, MAX_BOUNDARY),
                time: values.millis(UPLOAD_TIMEOUT, 1),
            },
            keep_removed: values.millis(KEEP_REMOVED, 0),
            log_format: values.parsed(LOG_FORMAT, LogFormat::Text),
        }
    }
}

fn routers(values: &mut Values<'_>) -> Vec<RouterAddress> {
    let mut routers: Vec<RouterAddress> = Vec::new();
    for text in values.all(ROUTER).to_vec() {
        match text.parse::<RouterAddress>() {
            Ok(address) if routers.contains(&address) => {
                values.problem(ROUTER, format!("{text} comes twice"))
            }
            Ok(address) => routers.push(address),
            Err(error) => values.problem(ROUTER, error.to_string()),
        }
    }
    routers
}

fn size(values: &mut Values<'_>, name: &str) -> usize {
    usize::try_from(values.number(name, 1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use switchyard_program::flags::Parsed;

    fn parse(args: &[&str]) -> Result<Config, Vec<String>> {
        match PROGRAM.parse(args.iter().map(OsString::from), |_| None, Config::read) {
            Ok(Parsed::Run(config)) => Ok(config),
            Ok(Parsed::Print(text)) => panic!("printed {text}"),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    const ROUTER_URLS: &str = "http://127.0.0.1:8000,http://127.0.0.1:8001";

    #[test]
    fn the_volume_and_a_router_are_enough() {
        let config = parse(&["--projects", "/srv", "--router", ROUTER_URLS]).unwrap();
        assert_eq!(config.routers.len(), 1);
        assert_eq!((config.quorum, config.forward), (None, None));
        assert_eq!(config.limits.body, 100 * 1024 * 1024);
    }

    #[test]
    fn every_wrong_setting_is_named_at_once() {
        let args = [
            "--router",
            "nowhere",
            "--quorum",
            "0",
            "--listen",
            "here",
            "--routers",
            "dns:x",
            "--max-files=no",
        ];
        let problems = parse(&args).unwrap_err();
        for flag in ["--projects", "--router", "--routers", "--quorum", "--listen", "--max-files"] {
            assert!(problems.iter().any(|problem| problem.starts_with(flag)), "{flag}: {problems:?}");
        }
    }

    #[test]
    fn a_router_that_comes_twice_is_a_mistake() {
        let args = ["--projects", "/srv", "--router", ROUTER_URLS, "--router", ROUTER_URLS];
        assert!(parse(&args).unwrap_err()[0].contains("comes twice"));
    }
}
