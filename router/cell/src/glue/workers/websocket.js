// @ts-check
// `WebSocketPair`: two ends of a connection. Deno's server connects the end that a handler answers
// with (`new Response(null, { status: 101, webSocket })`) to the client.

import { primordials } from "ext:core/mod.js";

const {
  ArrayPrototypePush,
  ObjectDefineProperty,
  Promise,
  Proxy,
  ReflectConstruct,
  SafeWeakMap,
  TypeError,
} = primordials;
const { Deno, EventTarget, MessageEvent, CloseEvent, ErrorEvent, queueMicrotask } = globalThis;
const { upgradeWebSocket } = Deno;

// Messages that an end keeps until it is accepted. More of them are an error of code that never
// accepts.
const MAX_WAITING = 1024;

const OPEN = 1, CLOSING = 2, CLOSED = 3;

// The end of each response that was made with one.
const answers = new SafeWeakMap();

export function isUpgrade(response) {
  return typeof response === "object" && response !== null && answers.has(response);
}

class End extends EventTarget {
  #peer;
  #waiting = [];
  #isAccepted = false;
  #state = OPEN;

  static join(one, other) {
    one.#peer = other;
    other.#peer = one;
  }

  static READY_STATE_OPEN = OPEN;
  static OPEN = OPEN;
  static CLOSING = CLOSING;
  static CLOSED = CLOSED;

  get readyState() {
    return this.#state;
  }

  accept() {
    if (this.#isAccepted) return;
    this.#isAccepted = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    // Deferred, so that listeners added after this call get them too.
    for (let at = 0; at < waiting.length; at++) queueMicrotask(() => this.#deliver(waiting[at]));
  }

  send(data) {
    if (!this.#isAccepted) {
      throw new TypeError("You must call accept() on this WebSocket before sending messages.");
    }
    if (this.#state !== OPEN) throw new TypeError("Can't call WebSocket send() after close().");
    this.#peer.#receive(() => new MessageEvent("message", { data }));
  }

  close(code = 1005, reason = "") {
    if (this.#state !== OPEN) return;
    this.#state = CLOSING;
    this.#peer.#end(code, reason, true);
    this.#state = CLOSED;
  }

  // Ends the connection after the other end has closed, or the connection was lost.
  #end(code, reason, wasClean) {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    this.#receive(() => new CloseEvent("close", { code, reason, wasClean }));
  }

  #receive(make) {
    if (this.#isAccepted) return queueMicrotask(() => this.#deliver(make));
    if (this.#waiting.length >= MAX_WAITING) {
      throw new TypeError("The other WebSocket is never accepted");
    }
    ArrayPrototypePush(this.#waiting, make);
  }

  #deliver(make) {
    const event = make();
    this.dispatchEvent(event);
    const handler = this[`on${event.type}`];
    if (typeof handler === "function") handler.call(this, event);
  }

  // Connects an end with the client's socket.
  static connect(end, socket) {
    let opened;
    const promise = new Promise((resolve) => opened = resolve);
    socket.binaryType = "arraybuffer";
    socket.onopen = opened;
    socket.onmessage = ({ data }) => end.#isAccepted && end.#state === OPEN && end.send(data);
    socket.onclose = ({ code, reason, wasClean }) => {
      if (end.#state === CLOSED) return;
      end.#state = CLOSED;
      end.#peer.#end(code, reason, wasClean);
    };
    socket.onerror = (error) => {
      if (end.#peer.#state !== CLOSED) {
        end.#peer.#receive(() =>
          new ErrorEvent("error", { error: error.error, message: error.message })
        );
      }
    };
    end.addEventListener(
      "message",
      ({ data }) => promise.then(() => socket.readyState === OPEN && socket.send(data)),
    );
    end.addEventListener(
      "close",
      ({ code, reason }) =>
        promise.then(() => isSendable(code) ? socket.close(code, reason) : socket.close()),
    );
    // Sends the messages that the handler has sent already.
    promise.then(() => end.accept());
    end.#isAccepted = false;
  }
}
const { connect, join } = End;
delete /** @type {any} */ (End).connect;
delete /** @type {any} */ (End).join;
ObjectDefineProperty(End, "name", { __proto__: null, value: "WebSocket" });

// Returns true for the codes that a program may close with.
function isSendable(code) {
  return code === 1000 || (code >= 3000 && code <= 4999);
}

export function upgrade(request, response) {
  const protocol = response.headers.get("sec-websocket-protocol") ?? undefined;
  const { socket, response: switching } = upgradeWebSocket(request, { protocol });
  connect(answers.get(response), socket);
  return switching;
}

// Returns the class. It is made on its first use: from then on `Response` takes `webSocket`.
export function WebSocketPair() {
  const { Response } = globalThis;
  globalThis.Response = new Proxy(Response, {
    construct(target, args, newTarget) {
      const made = ReflectConstruct(target, args, newTarget);
      const end = args[1]?.webSocket;
      if (end !== undefined && end !== null) {
        if (made.status !== 101) {
          throw new TypeError("Responses with a WebSocket must have status code 101.");
        }
        answers.set(made, end);
        ObjectDefineProperty(made, "webSocket", {
          __proto__: null,
          value: end,
          configurable: true,
        });
      }
      return made;
    },
  });
  return class WebSocketPair {
    constructor() {
      this[0] = new End();
      this[1] = new End();
      join(this[0], this[1]);
    }
  };
}
