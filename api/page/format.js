// Values as people read them.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

// Two units at most: "1 d 4 h", "12 min 5 s".
export function duration(seconds) {
  let rest = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    if (count || (unit === "s" && !parts.length)) parts.push(`${count} ${unit}`);
    rest -= count * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

export const until = (time) => {
  const left = (Date.parse(time) - Date.now()) / 1000;
  return left < 0 ? `${duration(-left)} ago` : duration(left);
};
export const ago = (time) => `${duration((Date.now() - Date.parse(time)) / 1000)} ago`;
export const moment = (time) => new Date(time).toLocaleString();
export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

// All text comes into the page as text: what a container or a DHCP server is called is never markup.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
