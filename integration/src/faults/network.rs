//! Reaching the router, other cells and the machine by the network; and being a server beside the router.

use super::Ending::Refused;
use super::{Fault, fault};

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "the_admin_listener_by_fetch",
        Refused,
        "const get = (host) => () => fetch(`http://${host}:${scene.admin}/projects`).then((response) => response.text());
         const all = Object.fromEntries(scene.hosts.map((host) => [host, get(host)]));
         return tries({ ...all, 'the public listener': () => fetch(`http://127.0.0.1:${scene.public}/victim/`).then((response) => response.text()) });",
    ),
    fault(
        "the_admin_listener_by_a_redirect",
        Refused,
        "const at = (path) => `http://127.0.0.1:${scene.allowed}${path}`;
         const plain = await fetch(at('/here')).then((response) => response.text());
         if (plain !== 'allowed') throw new Error(`what is allowed says ${plain}`);
         const get = (path, options) => () => fetch(at(path), options).then((response) => response.text());
         return tries({
           '302': get('/302/projects'),
           '307': get('/307/projects', { method: 'POST', body: 'x' }),
           'a new connection': get('/302/projects', { headers: { connection: 'close' } }),
           'by node:http': () => new Promise((done, fail) => {
             http.get(at('/302/projects'), (response) => {
               http.get(response.headers.location, (second) => done(second.statusCode)).on('error', fail);
             }).on('error', fail);
           }),
           'an EventSource': () => new Promise((done, fail) => {
             const source = new EventSource(at('/302/events'));
             source.onopen = () => { source.close(); done('opened'); };
             source.onerror = () => { source.close(); fail(new Error('no source')); };
           }),
         });",
    ),
    fault(
        "the_admin_listener_by_a_socket",
        Refused,
        "const all = {};
         for (const host of scene.hosts) {
           const plain = host.replace(/[\\[\\]]/g, '');
           all[`WebSocket ${host}`] = () => new Promise((done, fail) => {
             const socket = new WebSocket(`ws://${host}:${scene.admin}/events`);
             socket.onopen = () => done('opened');
             socket.onerror = (event) => fail(new Error(event.message));
           });
           all[`Deno.connect ${host}`] = () => Deno.connect({ hostname: plain, port: scene.admin });
           all[`node:net ${host}`] = () => help.settled(net.connect({ host: plain, port: scene.admin }), 'connect');
           all[`node:http ${host}`] = () => new Promise((done, fail) => {
             http.get({ host: plain, port: scene.admin, path: '/projects' }, (response) => done(response.statusCode)).on('error', fail);
           });
         }
         return tries({
           ...all,
           'TLS': () => Deno.connectTls({ hostname: '127.0.0.1', port: scene.admin }),
           'a proxy': () => {
             const client = Deno.createHttpClient({ proxy: { url: `http://127.0.0.1:${scene.admin}` } });
             return fetch('http://127.0.0.1/projects', { client }).then((response) => response.text());
           },
           'HTTP/2': async () => {
             const http2 = await import('node:http2');
             return help.settled(http2.connect(`http://127.0.0.1:${scene.admin}`), 'connect');
           },
         });",
    ),
    fault(
        "datagrams_to_the_machine",
        Refused,
        "const bytes = new TextEncoder().encode('a datagram');
         const send = (host, family) => () => new Promise((done, fail) => {
           const socket = dgram.createSocket(family);
           socket.on('error', fail);
           socket.send(bytes, scene.trap, host, (error) => { socket.close(); error ? fail(error) : done('sent'); });
         });
         const connect = (host, family) => () => new Promise((done, fail) => {
           const socket = dgram.createSocket(family);
           socket.on('error', fail);
           socket.connect(scene.trap, host, () => socket.send(bytes, (error) => error ? fail(error) : done('sent')));
         });
         return tries({
           'node:dgram 127.0.0.1': send('127.0.0.1', 'udp4'),
           'node:dgram localhost': send('localhost', 'udp4'),
           'node:dgram ::1': send('::1', 'udp6'),
           'node:dgram mapped': send('::ffff:127.0.0.1', 'udp6'),
           'node:dgram connected': connect('127.0.0.1', 'udp4'),
           'Deno.listenDatagram': async () => {
             const socket = Deno.listenDatagram({ transport: 'udp', hostname: '0.0.0.0', port: 0 });
             return await socket.send(bytes, { transport: 'udp', hostname: '127.0.0.1', port: scene.trap });
           },
         });",
    ),
    fault(
        "the_admin_listener_by_other_words_for_loopback",
        Refused,
        "const all = {};
         for (const host of ['0.0.0.0', '127.1.2.3', '2130706433', '0x7f.1', '017700000001', '127.1', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::]']) {
           all[`fetch ${host}`] = () => fetch(`http://${host}:${scene.admin}/projects`).then((response) => response.text());
           all[`Deno.connect ${host}`] = () => Deno.connect({ hostname: host.replace(/[\\[\\]]/g, ''), port: scene.admin });
         }
         return tries(all);",
    ),
    fault(
        "sockets_of_other_cells",
        Refused,
        "const path = scene.socket;
         return tries({
           'Deno.connect': () => Deno.connect({ transport: 'unix', path }),
           'fetch': () => {
             const client = Deno.createHttpClient({ proxy: { transport: 'unix', path } });
             return fetch('http://localhost/', { client }).then((response) => response.text());
           },
           'node:net': () => help.settled(net.connect({ path }), 'connect'),
           'node:http': () => new Promise((done, fail) => {
             http.get({ socketPath: path, path: '/' }, (response) => done(response.statusCode)).on('error', fail);
           }),
           'a datagram': async () => {
             const socket = Deno.listenDatagram({ transport: 'unixpacket', path: `${Deno.env.get('TMPDIR')}/own` });
             return await socket.send(new Uint8Array(1), { transport: 'unixpacket', path });
           },
           'its removal': () => Deno.remove(path).then(() => 'removed'),
           'through a link': () => {
             const link = `${Deno.env.get('TMPDIR')}/link`;
             fs.symlinkSync(path, link);
             return help.settled(net.connect({ path: link }), 'connect');
           },
           'a list of them': () => fs.readdirSync(`${scene.state}/run`),
         });",
    ),
    fault(
        "listening_on_a_port",
        Refused,
        "return tries({
           'Deno.listen': () => Deno.listen({ hostname: '127.0.0.1', port: scene.free }).addr,
           'Deno.listen to all': () => Deno.listen({ port: 0 }).addr,
           'Deno.listenDatagram': () => Deno.listenDatagram({ transport: 'udp', hostname: '127.0.0.1', port: scene.free }).addr,
           'Deno.listen to a socket': () => Deno.listen({ transport: 'unix', path: `${Deno.env.get('DATA_DIR')}/sock` }).addr,
           'node:dgram': () => { const socket = dgram.createSocket('udp4'); socket.bind(scene.free, '127.0.0.1'); return help.settled(socket, 'listening'); },
           'an abstract name': () => { const server = net.createServer(); server.listen('\\0switchyard-abstract'); return help.settled(server, 'listening'); },
         });",
    ),
];
