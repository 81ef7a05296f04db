// @ts-check
// Answers that are asked for again and again while the tab is seen: of what no stream tells.

import { get } from "./api.js";
import { useEffect, useState } from "./lib.js";

/**
 * Returns the last answer, or the error in its place. `again` asks at once.
 * @param {string} path @param {number} every Milliseconds. 0: once. @param {unknown[]} [inputs]
 */
export function usePolled(path, every, inputs = []) {
  const [answer, setAnswer] = useState(/** @type {{data?: any, error?: any}} */ ({}));
  const [count, setCount] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    const ask = async () => {
      if (!document.hidden) {
        try {
          setAnswer({ data: await get(path, abort.signal) });
        } catch (error) {
          if (abort.signal.aborted) return;
          setAnswer(({ data }) => ({ data, error }));
        }
      }
      if (every > 0 && !abort.signal.aborted) timer = setTimeout(ask, every);
    };
    const seen = () => {
      if (document.hidden) return;
      clearTimeout(timer);
      ask();
    };
    ask();
    if (every > 0) document.addEventListener("visibilitychange", seen);
    return () => {
      abort.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [path, every, count, ...inputs]);
  return { ...answer, again: () => setCount((before) => before + 1) };
}
