//! Start commands of many forms, and the entries that they run.

use super::*;

fn last(text: &str) -> Option<Command> {
    understand(text, "").into_iter().next()
}

fn file(text: &str) -> Option<String> {
    match last(text)?.target {
        Target::File(file) => Some(file),
        _ => None,
    }
}

#[test]
fn the_file_of_a_start_command_is_found() {
    for (text, expected) in [
        ("node src/server.js", "src/server.js"),
        ("node ./bin/www", "./bin/www"),
        ("node build", "build"),
        ("node .", "."),
        ("nodejs app", "app"),
        ("node --env-file=.env server.js", "server.js"),
        ("node --env-file .env --enable-source-maps server.js", "server.js"),
        ("NODE_ENV=production PORT=3000 node app", "app"),
        ("cross-env NODE_ENV=production node x.js", "x.js"),
        ("npx cross-env A=b C=d node --max-old-space-size=4096 x.mjs", "x.mjs"),
        ("env A=b node x.js", "x.js"),
        ("deno run -A app.ts", "app.ts"),
        ("deno run --allow-net --allow-read=. --watch -c deno.json src/app.ts --flag", "src/app.ts"),
        ("deno serve --port 8000 main.ts", "main.ts"),
        ("deno serve -A _fresh/server.js", "_fresh/server.js"),
        ("deno -A main.ts", "main.ts"),
        ("deno main.ts", "main.ts"),
        ("tsx src/index.ts", "src/index.ts"),
        ("tsx watch --clear-screen=false src/index.ts", "src/index.ts"),
        ("ts-node -P tsconfig.prod.json src/index.ts", "src/index.ts"),
        ("ts-node-dev --respawn --transpile-only src/index.ts", "src/index.ts"),
        ("node -r ts-node/register src/index.ts", "src/index.ts"),
        ("node --import tsx ./src/index.ts", "./src/index.ts"),
        ("node --loader ts-node/esm src/index.ts", "src/index.ts"),
        ("bun run src/index.ts", "src/index.ts"),
        ("bun --hot src/index.tsx", "src/index.tsx"),
        ("bun run --hot src/index.ts", "src/index.ts"),
        ("pm2-runtime start dist/main.js", "dist/main.js"),
        ("pm2 start server.js --name api -i max", "server.js"),
        ("pm2 start -i 4 server.js -- --x", "server.js"),
        ("forever start app.js", "app.js"),
        ("nodemon", "."),
        ("nodemon server.js", "server.js"),
        ("nodemon -w src -e ts,json --exec \"ts-node src/index.ts\"", "src/index.ts"),
        ("nodemon -x ts-node src/index.ts", "src/index.ts"),
        ("npm run build && node dist/index.js", "dist/index.js"),
        ("prisma migrate deploy && node -r dotenv/config app.js", "app.js"),
        ("node server.js || true", "server.js"),
        ("node server.js | pino-pretty", "server.js"),
        ("node server.js > log.txt 2>&1 &", "server.js"),
        ("cd build && node index.js", "build/index.js"),
        ("dotenv -e .env.production -- node server.js", "server.js"),
        ("env-cmd -f .env node server.js", "server.js"),
        ("env-cmd ./.env node server.js", "server.js"),
        ("doppler run -- node server.js", "server.js"),
        ("exec node \"my server.js\"", "my server.js"),
        ("./bin/www", "./bin/www"),
        ("./server.js --prod", "./server.js"),
        ("yarn node server.js", "server.js"),
        ("pm2 start app.js --name x && pm2 save", "app.js"),
        ("npx nodemon --exec npx babel-node src/server.js", "src/server.js"),
        (
            "cross-env NODE_ENV=production tsx --conditions=development apps/server/index.ts",
            "apps/server/index.ts",
        ),
        ("node $NODE_OPTIONS ./bin/www", "./bin/www"),
        ("set NODE_ENV=production&& node app.js", "app.js"),
    ] {
        assert_eq!(file(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn a_script_or_a_program_is_named() {
    let script = |name: &str| Target::Script(name.to_owned());
    let program = |name: &str| Target::Program(name.to_owned());
    for (text, target, args) in [
        ("npm run serve", script("serve"), &[][..]),
        ("npm run serve -- --port 1", script("serve"), &["--port", "1"]),
        ("npm -s start", script("start"), &[]),
        ("yarn run serve", script("serve"), &[]),
        ("pnpm serve", program("serve"), &[]),
        ("yarn next start", program("next"), &["start"]),
        ("next start -p 3000", program("next"), &["start", "-p", "3000"]),
        ("npx next start", program("next"), &["start"]),
        ("npx -y serve dist", program("serve"), &["dist"]),
        ("npm exec -- next start", program("next"), &["start"]),
        ("./node_modules/.bin/next start", program("next"), &["start"]),
        (
            "cross-env NODE_ENV=production react-router-serve ./build/server/index.js",
            program("react-router-serve"),
            &["./build/server/index.js"],
        ),
        ("deno task serve", script("serve"), &[]),
        ("node --run serve", script("serve"), &[]),
        ("pm2-runtime npm -- start", script("start"), &[]),
        ("bun run start:prod", program("start:prod"), &[]),
        ("bun --bun next start", program("next"), &["start"]),
        ("cross-env NODE_ENV=production && npm run dev", script("dev"), &[]),
        ("deno run -A --unstable-detect-cjs npm:next@latest start", program("next"), &["start"]),
        ("deno run -A npm:@x/y@1/serve .", program("serve"), &["."]),
        ("deno run -A npm:@x/y@1", program("y"), &[]),
    ] {
        let command = last(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(
            (command.target, command.args.as_slice()),
            (target, &args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()[..]),
            "{text}"
        );
    }
}

#[test]
fn variables_files_of_them_and_modules_before_the_program_are_kept() {
    let command = last(
        "A=1 cross-env B='x y' node -r dotenv/config --import=./instrument.mjs -r ts-node/register \
         --env-file=.env app.js --port $PORT",
    );
    let command = command.unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(command.env, [pair("A", "1"), pair("B", "x y")]);
    assert_eq!(command.preload, ["dotenv/config", "./instrument.mjs"]);
    assert_eq!(command.env_files, [".env"]);
    assert_eq!(command.args, ["--port", "$PORT"]);
    assert_eq!(last("dotenv -- node x.js").unwrap().env_files, [".env"]);
}

#[test]
fn a_script_of_another_folder_or_member_is_named() {
    for (text, folder, member, args) in [
        ("cd apps/api && npm start", "apps/api", None, &[][..]),
        ("npm --prefix server start", "server", None, &[]),
        ("npm start --prefix server", "server", None, &[]),
        ("pnpm -C server start", "server", None, &[]),
        ("npm start -w api", "", Some("api"), &[]),
        ("npm start --workspace=api -- --x", "", Some("api"), &["--x"]),
        ("npm run -w @a/api start", "", Some("@a/api"), &[]),
        ("npm run start --workspace @a/api", "", Some("@a/api"), &[]),
        ("pnpm --filter web start", "", Some("web"), &[]),
        ("yarn workspace @a/web start", "", Some("@a/web"), &[]),
        ("npm start -- -w api", "", None, &["-w", "api"]),
    ] {
        let command = last(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(command.target, Target::Script("start".to_owned()), "{text}");
        assert_eq!((command.folder.as_str(), command.member.as_deref()), (folder, member), "{text}");
        assert_eq!(command.args, args, "{text}");
    }
}

#[test]
fn each_of_several_commands_that_one_runs_is_understood() {
    let targets = |text: &str| {
        let found = understand(text, "").into_iter().map(|command| command.target);
        found
            .map(|target| match target {
                Target::File(name) | Target::Script(name) | Target::Program(name) => name,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(targets("concurrently \"npm:api\" 'node s.js'"), ["s.js", "api"]);
    assert_eq!(targets("npx concurrently -k -n a,b 'vite' 'node s.js'"), ["s.js", "vite"]);
    assert_eq!(targets("run-s build serve"), ["serve", "build"]);
    assert_eq!(targets("A=b npm-run-all --parallel api web"), ["web", "api"]);
    assert!(targets(&format!("run-p {}", "a ".repeat(1000))).len() <= MAX_PARALLEL);
    assert!(targets("concurrently 'concurrently \"node s.js\"'").len() <= 1);
}

#[test]
fn the_flags_in_node_options_count() {
    let command =
        last("NODE_OPTIONS='--max-old-space-size=512 -r ./pre.js --import=./i.mjs' node x.js").unwrap();
    assert_eq!(command.preload, ["./pre.js", "./i.mjs"]);
    assert_eq!(last("cross-env NODE_OPTIONS=--require=./a.js node x.js").unwrap().preload, ["./a.js"]);
}

#[test]
fn modules_that_are_written_for_a_compiler_are_known() {
    for (text, expected) in [
        ("tsx src/a.ts", true),
        ("ts-node src/a.ts", true),
        ("bun run a.ts", true),
        ("nodemon -x ts-node a.ts", true),
        ("node --import tsx a.ts", true),
        ("node -r ts-node/register a.ts", true),
        ("node --loader ts-node/esm a.ts", true),
        ("NODE_OPTIONS='--import tsx' node a.ts", true),
        ("node a.ts", false),
        ("deno run -A a.ts", false),
    ] {
        assert_eq!(last(text).unwrap().is_compiled, expected, "{text}");
    }
}

#[test]
fn commands_that_run_no_program_of_the_project_are_not_recognized() {
    for text in [
        "",
        "echo \"no start\" && exit",
        "node -e \"require('./x')\"",
        "node --test",
        "deno eval 1",
        "deno run -A npm:vite",
        "deno run -A jsr:@std/http/file-server",
        "deno run https://example.com/x.ts",
        "pm2 start ecosystem.config.js",
        "docker compose up",
        "pnpm -r start",
        "npm start --workspaces",
        "node $(pwd)/server.js",
        &"cross-env ".repeat(2000),
        &format!("{}node x.js", "npx ".repeat(20)),
    ] {
        let found = last(text);
        let is_file = found.as_ref().is_some_and(|found| matches!(found.target, Target::File(_)));
        assert!(!is_file, "{text}: {found:?}");
    }
}
