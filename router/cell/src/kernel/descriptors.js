// Keeps every descriptor that the project has not opened itself out of its reach. Of all that Deno
// gives to JavaScript, what takes the number of a descriptor and believes it are the handles of
// node:net and node:tty; the rest asks Deno's table, which has the project's files and the three
// standard streams, or is an op that `descriptors.rs` replaces. Loaded in each isolate before the
// project's code.

import { core, primordials } from "ext:core/mod.js";
import { PipeWrap, TCPWrap, TTY } from "ext:core/ops";

const { ObjectDefineProperty, ReflectApply, TypeError } = primordials;

const EINVAL = -22;

// Given by the cell. `lend`: a copy of a descriptor of the project's that can be a stream, or what
// is wrong with it as a negative error. `adopted`: the copy is a handle's from now on. `returned`:
// no handle has become of it.
export default function guard(lend, adopted, returned) {
  guardOpen(PipeWrap.prototype);
  guardOpen(TCPWrap.prototype);
  refuseTerminals();

  function guardOpen(prototype) {
    const open = prototype.open;
    const value = function open_(fd) {
      const own = lend(fd);
      if (own < 0) return own;
      let error;
      try {
        error = ReflectApply(open, this, [own]);
      } catch (wrong) {
        returned(own);
        throw wrong;
      }
      adopted(own);
      return error;
    };
    ObjectDefineProperty(value, "name", { value: "open" });
    ObjectDefineProperty(prototype, "open", { value });
  }

  // A cell has no terminal. Node's own streams ask `op_tty_check_fd_permission` first, which
  // refuses all.
  function refuseTerminals() {
    function Refused(_fd, context) {
      if (new.target === undefined) {
        throw new TypeError("Class constructor TTY cannot be invoked without 'new'");
      }
      if (typeof context !== "object" || context === null) return;
      context.code = "EINVAL";
      context.message = "invalid argument";
      context.errno = EINVAL;
      context.syscall = "uv_tty_init";
    }
    ObjectDefineProperty(Refused, "name", { value: "TTY" });
    Refused.isTTY = TTY.isTTY;
    Refused.prototype = TTY.prototype;
    ObjectDefineProperty(TTY.prototype, "constructor", { value: Refused });
    core.loadExtScript("ext:deno_node/internal_binding/tty_wrap.ts").TTY = Refused;
  }
}
