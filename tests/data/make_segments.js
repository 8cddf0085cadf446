// Writes segments.json.gz: what Twilio's public segment calculator says of several thousand texts. `make segments`
// installs the calculator and runs this; its arguments are the folder where the calculator is and the file to write.
//
// A text is a list of runs, [piece, times, piece, times, ...]; in the file stand pieces by their number. Of each text
// the calculator says, without and with its smart encoding: encoding (0 GSM-7, 1 UCS-2), units, segments. Where it
// would say other segments if it put single code points into segments, not whole grapheme clusters, that is a fourth
// number. The empty text is not there: the calculator gives it one segment.

"use strict";

const fs = require("fs");
const path = require("path");
const zlib = require("zlib");

const [modules, target] = process.argv.slice(2);
const calculator = path.resolve(modules, "sms-segments-calculator");
const { SegmentedMessage } = require(calculator);
const version = (folder) =>
  JSON.parse(fs.readFileSync(path.join(modules, folder, "package.json"), "utf8")).version;

const SEED = 20_260_301;
const EXTENSION = [..."^{}\\[~]|€\f"];
const ACCENTED = [..."áíóúëïôçãõâêœŁřş"];
const EMOJI = ["😀", "🚗", "🔧", "🎉", "𝒳"];
const CLUSTERS = [
  "e\u0301", "n\u0303", "a\u0302\u0323", "👍🏽", "👩\u200d🔧", "👨\u200d👩\u200d👧\u200d👦", "❤\ufe0f", "🇺🇸", "1\ufe0f\u20e3", "🏳\ufe0f\u200d🌈",
  "각", "क्षि", "ก็", "\u0301",
];
const TYPOGRAPHIC = [
  ..."“”„«»‘’‚‹›–—―‐‑•…·×÷⁄½¼¾‼`´ˆ˜∗✱（）！？：；＄％ＡＢｃ１２‗⁏❨❩ᴀꜱ▪●′″−",
  "\u00a0", "\u202f", "\u2009", "\u3000", "\u200b", "\u200c", "\u2060", "\ufeff", "\u00ad", "\u2028", "\t", "\u0303", "\u0337",
];
const WORDS = [
  "Hi ", "Maria", "O'Brien", ", ", "your ", "2019 ", "Accord ", "is due for ", "service", ". ", "Call ",
  "(312) 555-0142", "\n", "Save $25! ", "Book: https://ex.co/a_b?c=[1] ", "Hola ", "José", "mañana ", "¿Cuándo? ",
  "señor ", "está listo", "10% off", " @ 9:30 AM", "\r\n", "Thanks, ", "Ann", "Text STOP to opt-out", "é", "Ñ", "ü",
];
const GSM = [..."aAzZ09 @£$¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉÄÖÑÜ§¿¡äöñüà!?&/\n"];

// Mulberry32: the same texts with every version of Node.
let state = SEED;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];

const texts = new Map();
function add(...runs) {
  const kept = [];
  for (let i = 0; i < runs.length; i += 2) {
    if (runs[i + 1] > 0 && kept.length > 0 && kept[kept.length - 2] === runs[i]) kept[kept.length - 1] += runs[i + 1];
    else if (runs[i + 1] > 0) kept.push(runs[i], runs[i + 1]);
  }
  if (kept.length > 0) texts.set(expand(kept), kept);
}
function expand(runs) {
  let text = "";
  for (let i = 0; i < runs.length; i += 2) text += runs[i].repeat(runs[i + 1]);
  return text;
}
/** Every length within `near` of an edge: of one segment, and of two to four. */
function* edges(single, part, near) {
  for (const edge of [single, 2 * part, 3 * part, 4 * part]) {
    for (let length = edge - near; length <= edge + near; length++) yield length;
  }
}

// Every length of plain texts up to three segments.
for (let n = 1; n <= 460; n++) add("a", n);
for (let n = 1; n <= 202; n++) add("á", n);
// Pairs of units across every edge: escape and character, the halves of a surrogate pair.
for (const pair of EXTENSION) for (const n of edges(160, 153, 2)) add("a", n - 1, pair, 1, "b", n % 4);
for (const n of edges(160, 153, 4)) for (const times of [1, 2, 5]) add("a", n - times, "€", times, "{", 3, "b", 60);
for (let n = 1; n <= 320; n += 2) add("€", n), add("a", 1, "~", n);
for (const pair of EMOJI) for (const n of edges(70, 67, 4)) add("a", n - 1, pair, 1, "b", n % 4);
for (const n of edges(70, 67, 4)) for (const times of [1, 2, 5]) add("á", n - times, "😀", times, "b", 70);
for (let n = 1; n <= 140; n++) add("😀", n), add("a", 1, "🚗", n);
add("\ud83d", 71), add("a", 66, "\ude00", 3, "b", 70), add("\ud83d", 134, "a", 1);
// Grapheme clusters of several code points across the edges.
for (const cluster of CLUSTERS) {
  for (const n of edges(70, 67, 5)) add("a", n - 2, cluster, 1, "b", 3);
  // The last unit of a full segment: a cluster that moves on as a whole makes one segment more.
  for (const edge of [134, 201, 268]) {
    for (let n = 68 - cluster.length; n < 67; n++) add("a", n, cluster, 1, "b", edge - n - cluster.length);
  }
  for (const n of [10, 23, 34, 35, 36, 67, 68]) add(cluster, n), add("a", 1, cluster, n);
}
// One typographic character where it decides the encoding, and near the edges once it is replaced.
for (const sign of TYPOGRAPHIC) {
  for (const n of [1, 68, 69, 70, 157, 158, 159, 160, 161, 305, 306, 307]) add("a", n - 1, sign, 1, "b", 1);
  add("It", 1, sign, 1, "s á", 1), add("a ", 1, sign, 3, " b", 1), add(sign, 80), add("x2", 1, sign, 1, "y", 40);
}
// Anything after anything, about as long as real texts and as the edges.
const mixtures = [
  [2, WORDS], [2, WORDS.concat(TYPOGRAPHIC.slice(0, 12))], [3, GSM.concat(EXTENSION)], [3, WORDS.concat(TYPOGRAPHIC)],
  [3, ["a", "b", "é"].concat(EMOJI, CLUSTERS)], [3, ACCENTED.concat(GSM.slice(0, 9))], [4, TYPOGRAPHIC.concat("a", " ", "e")],
];
for (let i = 0; i < 1600; i++) {
  const [most, pieces] = mixtures[i % mixtures.length];
  const runs = [];
  for (let j = below(22) + 1; j > 0; j--) {
    const piece = pick(pieces);
    runs.push(piece, piece.length === 1 && random() < 0.2 ? below(90) : 1 + below(most));
  }
  add(...runs);
}

function said(text, smart) {
  const message = new SegmentedMessage(text, "auto", smart);
  const ucs2 = message.encodingName === "UCS-2";
  const answer = [ucs2 ? 1 : 0, message.messageSize / (ucs2 ? 16 : 7), message.segmentsCount];
  const codePoints = [...message.graphemes.join("")];
  const single = message._buildSegments(message._encodeChars(codePoints)).length;
  return single === answer[2] ? answer : [...answer, single];
}

const smart = {};
for (let code = 0; code < 0x10000; code++) {
  if (code >= 0xd800 && code < 0xe000) continue;
  const character = String.fromCodePoint(code);
  const plain = new SegmentedMessage(character, "auto", true).graphemes.join("");
  if (plain !== character) smart[character] = plain;
}

const pieces = new Map();
const numbered = (piece) => {
  if (!pieces.has(piece)) pieces.set(piece, pieces.size);
  return pieces.get(piece);
};
const rows = [...texts].map(([text, runs]) => [
  runs.map((run, i) => (i % 2 === 0 ? numbered(run) : run)),
  said(text, false),
  said(text, true),
]);
const data = {
  made_by: {
    "sms-segments-calculator": version("sms-segments-calculator"),
    "grapheme-splitter": version("grapheme-splitter"),
  },
  smart,
  pieces: [...pieces.keys()],
  texts: rows,
};
const packed = zlib.gzipSync(JSON.stringify(data), { level: 9 });
packed[9] = 255; // the operating system in the header, so that every one gives the same bytes
fs.writeFileSync(target, packed);
console.log(`${target}: ${rows.length} texts, ${packed.length} bytes`);
