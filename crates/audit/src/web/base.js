"use strict";
const $ = id => document.getElementById(id);
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "onclick") node.onclick = value; else if (key === "style") node.style.cssText = value; else node.setAttribute(key, value);
  }
  for (const child of children) node.append(child);
  return node;
}
// Text with `code` in it.
const rich = text => text.split("`").map((part, i) => i % 2 ? el("code", {}, part) : part);
const count = (number, one, more) => `${number} ${number === 1 ? one : more || one + "s"}`;
// Whether a text has all of the words that are searched for.
const words = wanted => {
  const all = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  return text => all.every(word => text.toLowerCase().includes(word));
};
