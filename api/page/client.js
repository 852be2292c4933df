// What the plugin answers. The token, if it wants one, is kept for this browser tab only.

const KEY = "net-dhcp-token";
const PAUSE = 2000; // milliseconds before a broken stream is asked for again

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export const setToken = (token) => sessionStorage.setItem(KEY, token);

export async function ask(path, options = {}) {
  const token = sessionStorage.getItem(KEY);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  if (!response.ok && !(path === "/healthz" && response.status === 503)) {
    const body = await response.json().catch(() => ({}));
    throw new Refused(response.status, body.Err ?? `${path}: ${response.status} ${response.statusText}`);
  }
  return response;
}

// The objects of a text with one in each line; a stream has empty lines in between.
export const objects = (text) => text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));

export const json = async (path) => (await ask(path)).json();

// Calls `onEvent` for each event from now on, for ever; `onState(true)` where the stream begins, `onState(false)` where
// it breaks. The stream is read by fetch because an EventSource cannot send the token.
export async function follow(onEvent, onState) {
  let last = null;
  for (;;) {
    try {
      const since = last === null ? "" : `&since=${last}`;
      const reader = (await ask(`/v1/events?follow=true${since}`)).body.pipeThrough(new TextDecoderStream()).getReader();
      onState(true);
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const end = (rest + value).lastIndexOf("\n") + 1;
        const whole = (rest + value).slice(0, end);
        rest = (rest + value).slice(end);
        for (const event of objects(whole)) {
          if (event.id === undefined) continue; // the plugin's last words
          last = event.id;
          onEvent(event);
        }
      }
    } catch (error) {
      if (error instanceof Refused && error.status === 400) last = null; // the history has begun anew
    }
    onState(false);
    await new Promise((go) => setTimeout(go, PAUSE));
  }
}
