// @ts-check
// Guards every descriptor that the project has not opened itself. The only interfaces that take the
// number of a descriptor without a check are the handles of node:net and node:tty; all others use
// Deno's table, which has the project's files and the three standard streams, or are ops that
// `descriptors.rs` replaces. Loaded in each isolate before the project's code.

import { core, primordials } from "ext:core/mod.js";
import { PipeWrap, TCPWrap, TTY } from "ext:core/ops";

const { ObjectDefineProperty, ReflectApply, TypeError } = primordials;

const EINVAL = -22;

// Called by the cell. `lend`: returns a copy of a descriptor of the project's that is a stream, or
// a negative error. `adopted`: called with a copy that a handle owns from now on. `returned`:
// called with a copy that no handle has adopted.
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
      } catch (thrown) {
        returned(own);
        throw thrown;
      }
      adopted(own);
      return error;
    };
    ObjectDefineProperty(value, "name", { value: "open" });
    ObjectDefineProperty(prototype, "open", { value });
  }

  // Makes TTY handles fail, as a cell has no terminal. Node's own streams call
  // `op_tty_check_fd_permission` first, which refuses all descriptors.
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
