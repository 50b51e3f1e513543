use super::*;
use crate::problem::Problem;
use crate::traefik::static_config::{self, Settings};

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

fn run(args: &[&str], env: &[(&str, &str)]) -> Run {
    let env: Vec<_> = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    match parse(&strings(args), &env) {
        Ok(Invocation::Run(run)) => run,
        other => panic!("{other:?}"),
    }
}

fn settings(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let result = static_config::read(None, &run(args, env).overlay);
    result.map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

#[test]
fn reads_its_own_flags() {
    let run = run(&["--configfile", "static.yml", "--check"], &[]);
    assert_eq!(run.config_file, Some("static.yml".into()));
    assert!(run.check);
    assert_eq!(parse(&strings(&["--help"]), &[]), Ok(Invocation::Help));
    assert_eq!(parse(&strings(&["--x", "-h"]), &[]), Ok(Invocation::Help));
    assert_eq!(parse(&strings(&["version"]), &[]), Ok(Invocation::Version));
    assert_eq!(parse(&[], &[]), Ok(Invocation::Run(Run::default())));
}

#[test]
fn flags_are_settings_in_any_case_and_any_form() {
    let settings = settings(
        &[
            "--ENTRYPOINTS.web.Address=:8081",
            "--entrypoints.web.forwardedheaders.trustedips=10.0.0.0/8,::1",
            "--entrypoints.Web.asDefault",
            "-pancake.workers",
            "2",
            "--ping",
            "--ping.terminatingStatusCode=204",
            "--serverstransport.maxidleconnsperhost",
            "-1",
            "--accesslog=false",
        ],
        &[],
    );
    let settings = settings.unwrap();
    assert_eq!(settings.entry_points[1].name, "web");
    assert_eq!(settings.entry_points[1].listen.port, 8081);
    assert!(settings.entry_points[1].as_default);
    assert_eq!(settings.entry_points[1].forwarded_headers.trusted_ips.len(), 2);
    assert_eq!(settings.pancake.workers, Some(2));
    assert_eq!(settings.ping.unwrap().terminating_status_code, 204);
    assert_eq!(settings.servers_transport.max_idle_conns_per_host, 0);
    assert_eq!(settings.access_log, None);
}

#[test]
fn the_last_of_a_repeated_flag_wins_and_lists_add_up() {
    let settings = settings(
        &[
            "--entrypoints.web.address=:1",
            "--entrypoints.web.address=:2",
            "--entrypoints.web.forwardedheaders.trustedips=10.0.0.1",
            "--entrypoints.web.forwardedheaders.trustedips=10.0.0.2",
            "--entrypoints.web.forwardedheaders.connection[1]=b",
            "--entrypoints.web.forwardedheaders.connection[0]=a",
        ],
        &[],
    );
    let web = &settings.unwrap().entry_points[0];
    assert_eq!(web.listen.port, 2);
    assert_eq!(web.forwarded_headers.trusted_ips.len(), 2);
    assert_eq!(web.forwarded_headers.connection, ["a", "b"]);
}

#[test]
fn flags_go_over_the_environment_which_goes_over_the_file() {
    let run = run(
        &["--entrypoints.web.address=:3"],
        &[
            ("TRAEFIK_ENTRYPOINTS_WEB_ADDRESS", ":2"),
            ("TRAEFIK_PING_TERMINATINGSTATUSCODE", "204"),
            ("TRAEFIK_SERVICE_HOST", "10.0.0.1"),
            ("TRAEFIK_CONFIGFILE", "from-env.yml"),
            ("PATH", "/bin"),
        ],
    );
    assert_eq!(run.config_file, Some("from-env.yml".into()));
    let file = crate::tree::File {
        name: "static.yml",
        text: "entryPoints: {Web: {address: ':1', asDefault: true}}\nping: {terminatingStatusCode: 205}\n",
        format: crate::tree::Format::Yaml,
    };
    let settings = static_config::read(Some(file), &run.overlay).unwrap();
    let web = settings.entry_points.iter().find(|entry_point| entry_point.name == "Web").unwrap();
    assert_eq!(web.listen.port, 3);
    assert!(web.as_default);
    assert_eq!(settings.ping.unwrap().terminating_status_code, 204);
}

#[test]
fn problems_name_the_flag_or_the_variable() {
    let problems = settings(
        &[
            "--entrypoints.web.adress=:80",
            "--pancake.engine=rign",
            "--nonsense",
            "--entrypoints.web.address=80",
        ],
        &[("TRAEFIK_API_INSECURE", "maybe")],
    );
    assert_eq!(
        problems.unwrap_err(),
        [
            "--entrypoints.web.address: address cannot be \"80\"; expected an address such as :80, 127.0.0.1:8080 or [::1]:8080",
            "--entrypoints.web.adress: unknown key \"adress\" in entryPoints.web; did you mean \"address\"?",
            "--nonsense: unknown key \"nonsense\"; expected one of entryPoints, global, api, ping, metrics, core, tracing, hostResolver, experimental, spiffe, ocsp, certificatesResolvers, providers, accessLog, log, serversTransport, tcpServersTransport, pancake",
            "--pancake.engine: engine cannot be \"rign\"; expected one of auto, ring, epoll; did you mean \"ring\"?",
            "TRAEFIK_API_INSECURE: insecure cannot be \"maybe\"; expected true or false",
        ]
    );
}

#[test]
fn refuses_what_is_no_flag_all_at_once() {
    let problems = parse(&strings(&["serve", "--configFile", "--check", "--a..b=c", "--check=perhaps"]), &[]);
    let printed: Vec<String> = problems.unwrap_err().iter().map(Problem::to_string).collect();
    assert_eq!(
        printed,
        [
            "serve: not a flag; expected flags such as --configFile=FILE",
            "--configFile: no file is named; expected --configFile=FILE",
            "--a..b: a part of the name is empty; expected a name such as entryPoints.web.address",
            "--check: not a boolean; expected --check",
        ]
    );
}

#[test]
fn looks_where_traefik_looks() {
    let env = [("HOME".to_string(), "/home/u".to_string())];
    let files = standard_files(&env);
    assert_eq!(files.len(), 9);
    assert_eq!(files[0], PathBuf::from("./traefik.toml"));
    assert!(files.contains(&"/home/u/.config/traefik.yml".into()));
    assert!(files.contains(&"/etc/traefik/traefik.yaml".into()));
}

proptest::proptest! {
    #[test]
    fn never_panics(args in proptest::collection::vec("[-a-z.=\\[\\]0-9é ]{0,24}", 0..6)) {
        if let Ok(Invocation::Run(run)) = parse(&args, &[]) {
            let _ = static_config::read(None, &run.overlay);
        }
    }
}
