// The libraries under one roof. The only module that knows their files.
// @ts-self-types="./lib.d.ts"

import { h, render } from "./vendor/preact.js";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.js";
import { batch, computed, effect, signal, useSignal } from "./vendor/signals.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(h);

// The library for charts, which is large, and loaded when the first one is shown.
export async function charts() {
  return (await import("./vendor/uplot.js")).default;
}

export {
  batch,
  computed,
  effect,
  render,
  signal,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useSignal,
  useState,
};
