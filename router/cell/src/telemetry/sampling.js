// @ts-check
// Has spans follow the sampling decision of their trace: Deno's own sampler can be set only together
// with its exporter, and would record each span. A span that is not sampled is never ended, so
// nothing is exported of it. Loaded in each isolate before the project's code.

import { core, internals, primordials } from "ext:core/mod.js";

const {
  MathRandom,
  ObjectGetPrototypeOf,
  ObjectKeys,
  ReflectApply,
  SafeArrayIterator,
  SafeWeakSet,
} = primordials;
const { ContextManager, otelState, Span, SPAN_KEY, telemetry } = core.loadExtScript(
  "ext:deno_telemetry/telemetry.ts",
);

// The bit of W3C's trace flags.
const SAMPLED = 1;

const GETTER = {
  __proto__: null,
  get: (headers, name) => headers[name],
  keys: (headers) => ObjectKeys(headers),
};

// Calls a function whose spans are children of the span that `traceparent` names.
function inTrace(traceparent, work) {
  if (typeof traceparent !== "string") return work();
  let context = ContextManager.active();
  const headers = { __proto__: null, traceparent };
  for (const propagator of new SafeArrayIterator(otelState.PROPAGATORS)) {
    context = propagator.extract(context, headers, GETTER);
  }
  return ContextManager.with(context, work);
}

// Has all spans follow the decision. `ratio`: the share of traces without a parent that are sampled.
export default function follow(ratio) {
  internals.inTrace = inTrace;
  const unsampled = new SafeWeakSet();
  /** @type {any} */
  const tracer = ObjectGetPrototypeOf(telemetry.tracerProvider.getTracer("switchyard"));
  const { startSpan } = tracer;
  const { end, isRecording, spanContext } = Span.prototype;

  const isSampled = (options, context) => {
    const parent = options?.root
      ? undefined
      : (context ?? ContextManager.active())?.getValue(SPAN_KEY);
    if (parent === undefined) return MathRandom() < ratio;
    return (parent.spanContext().traceFlags & SAMPLED) !== 0;
  };

  tracer.startSpan = function (name, options, context) {
    const sampled = isSampled(options, context);
    const span = ReflectApply(startSpan, this, [name, options, context]);
    if (!sampled) unsampled.add(span);
    return span;
  };
  Span.prototype.spanContext = function () {
    const context = ReflectApply(spanContext, this, []);
    return unsampled.has(this) ? { ...context, traceFlags: 0 } : context;
  };
  Span.prototype.isRecording = function () {
    return !unsampled.has(this) && ReflectApply(isRecording, this, []);
  };
  Span.prototype.end = function (time) {
    if (!unsampled.has(this)) ReflectApply(end, this, [time]);
  };
}
