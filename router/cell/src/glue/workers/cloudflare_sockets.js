// @ts-check
// The module `cloudflare:sockets`, made with Deno's connections.

const { Deno, TransformStream } = globalThis;
const { connect: connectTcp, connectTls, startTls } = Deno;

function addressOf(address) {
  if (typeof address === "object" && address !== null) {
    return { hostname: address.hostname, port: Number(address.port) };
  }
  const { hostname, port } = new URL(`tcp://${address}`);
  const isBracketed = hostname.startsWith("[");
  return { hostname: isBracketed ? hostname.slice(1, -1) : hostname, port: Number(port) };
}

class Socket {
  #address;
  #secure;
  #connection;
  #input = new TransformStream();
  #output = new TransformStream();
  #resolve;
  #reject;
  #isHandedOver = false;

  constructor(address, { secureTransport = "off" } = {}, connection) {
    this.#address = address;
    this.#secure = secureTransport;
    this.readable = this.#input.readable;
    this.writable = this.#output.writable;
    this.closed = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.closed.catch(() => {});
    this.opened = this.#open(connection);
    this.opened.catch(() => {});
  }

  async #open(connecting) {
    try {
      const connection = await (connecting ??
        (this.#secure === "on" ? connectTls(this.#address) : connectTcp(this.#address)));
      this.#connection = connection;
      if (this.#secure !== "starttls") this.#flow();
      const name = ({ hostname, port }) => `${hostname}:${port}`;
      return {
        remoteAddress: name(connection.remoteAddr),
        localAddress: name(connection.localAddr),
      };
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  // Copies both directions until they end.
  #flow() {
    const { readable, writable } = this.#connection;
    const received = readable.pipeTo(this.#input.writable);
    const sent = this.#output.readable.pipeTo(writable, { preventClose: true })
      .then(() => this.#connection.closeWrite?.());
    Promise.all([received, sent]).then(() => this.close(), (error) => this.#fail(error));
  }

  #fail(error) {
    this.#close();
    this.#input.writable.abort(error).catch(() => {});
    this.#output.readable.cancel(error).catch(() => {});
    this.#reject(error);
  }

  #close() {
    try {
      this.#connection?.close();
    } catch {
      // The connection is closed already.
    }
  }

  get upgraded() {
    return this.#isHandedOver;
  }

  get secureTransport() {
    return this.#secure;
  }

  async close() {
    this.#close();
    this.#resolve();
    return await this.closed;
  }

  /** @param {{ expectedServerHostname?: string }} [options] */
  startTls({ expectedServerHostname } = {}) {
    if (this.#secure !== "starttls" || this.#isHandedOver) {
      throw new TypeError(
        'startTls() needs a socket with { secureTransport: "starttls" }, and works once',
      );
    }
    this.#isHandedOver = true;
    const hostname = expectedServerHostname ?? this.#address.hostname;
    const secured = this.opened.then(() => startTls(this.#connection, { hostname }));
    return new Socket(this.#address, { secureTransport: "on" }, secured);
  }
}

export function connect(address, options) {
  return new Socket(addressOf(address), options);
}
