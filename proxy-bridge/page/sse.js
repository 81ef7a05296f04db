// @ts-check
// Server-sent events of a fetch: EventSource can send no token.

// The longest event: a thousand projects at once are some 600 KB.
const MAX_EVENT = 64 * 1024 * 1024;

/**
 * Calls `take` with the kind and the data of each event, until the body ends.
 * @param {Response} response @param {(kind: string, data: any) => void} take
 */
export async function readEvents(response, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new Parser(take);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    parser.push(value);
  }
}

// Events out of pieces of text.
export class Parser {
  constructor(take) {
    this.take = take;
    this.rest = "";
    this.kind = "message";
    this.data = [];
  }

  push(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    if (this.rest.length > MAX_EVENT) throw new Error("an event is too long");
    for (const line of lines) this.line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  line(line) {
    if (line === "") {
      if (this.data.length > 0) this.take(this.kind, JSON.parse(this.data.join("\n")));
      this.kind = "message";
      this.data = [];
    } else if (line.startsWith("event:")) this.kind = line.slice(6).trim();
    else if (line.startsWith("data:")) this.data.push(line.slice(5).trimStart());
  }
}
