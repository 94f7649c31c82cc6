// Payments as three generations of producers write them, and the ways in which a broken one ruins transaction_id.
// Everything follows from the seed; nothing here reads a clock.

import {sha256} from './shape.mjs';

// sfc32: quick and good enough; seeded from a text so that every queue has its own sequence.
export class Chance {
  constructor(text) {
    const seed = sha256(text);
    [this.a, this.b, this.c, this.d] = [0, 4, 8, 12].map((at) => seed.readInt32LE(at));
    for (let i = 0; i < 12; ++i) this.word();
  }

  word() {
    const t = (((this.a + this.b) | 0) + this.d) | 0;
    this.d = (this.d + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (this.c << 21) | (this.c >>> 11);
    this.c = (this.c + t) | 0;
    return t >>> 0;
  }

  below(n) {
    return Math.floor((this.word() / 4294967296) * n);
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  one_in(n) {
    return this.below(n) === 0;
  }

  hex8() {
    return this.word().toString(16).padStart(8, '0');
  }
}

const kNames = [
  'Anna Schmidt', 'José Núñez', 'Zoë Brontë', 'Łukasz Wójcik', '山田 太郎', '李小龙', 'Olga Иванова', 'Søren Kjær',
  'Ananya Rao', 'محمد علي', 'John Smith', 'Marie Curie', "Siobhán O'Brien", 'Ngọc Trần', 'Ada 🚀 Lovelace', 'Max Müller-Lüdenscheidt',
].map((name) => JSON.stringify(name));
const kCurrencies = ['EUR', 'EUR', 'EUR', 'USD', 'USD', 'GBP', 'PLN', 'SEK', 'JPY', 'INR'];
const kCountries = ['DE', 'FR', 'ES', 'PL', 'SE', 'JP', 'IN', 'US', 'GB', 'NL'];
const kNotes = [
  '', '', '', '', '', 'gift', 'call before delivery', 'Rechnung an Büro, bitte nicht an Privatadresse', 'leave at door #3',
  'second attempt after card was declined; customer confirmed by phone and asked for a receipt in paper form as well',
  'línea 2: apartamento "B"', 'ref 2026/117', 'C:\\invoices\\2026\\117.pdf', 'größer als üblich – bitte prüfen',
].map((note) => JSON.stringify(note));
// Valid text that a careless detector takes for trouble.
const kTrickyNotes = [
  '[draft] note', '{see ticket 4411}', 'transaction_id: tx_unquoted, as the customer wrote it', '"quoted" and \\escaped\\', '}{',
  '{"transaction_id": tx_99, "amount": 12}', 'null', 'NaN', 'tab\there', 'two\nlines', 'half a "quote', '\u0001 control', '\ufeffmark',
].map((note) => JSON.stringify(note));
const kRawMetadata = [
  {cart: 'c-1', coupon: null}, {utm: 'spring', ab: ['x', 'y']}, {device: {os: 'ios', v: '17.4'}}, {legacy: '{"nested":"{\\"deep\\":1}"}'},
].map((value) => JSON.stringify(JSON.stringify(value)));
const kSources = ['web', 'app', 'pos', 'partner-api'];
const kSkus = ['A-100', 'A-117', 'B-2', 'C-9000', 'ÅL-77'];

const two = (n) => (n < 10 ? `0${n}` : `${n}`);
const instant = (c) => `2026-03-14T${two(8 + c.below(10))}:${two(c.below(60))}:${two(c.below(60))}.${100 + c.below(900)}Z`;
const cents = (c) => `${1 + c.below(900)}.${two(c.below(100))}`;

function membersOfV1(c) {
  const members = [
    '"v":1', `"amount":"${cents(c)}"`, `"currency":"${c.pick(kCurrencies)}"`, `"customer":${c.pick(kNames)}`,
    `"created":"${instant(c)}"`, `"customer_no":"${c.below(1e6)}"`, `"note":${c.pick(kNotes)}`,
  ];
  if (c.one_in(2)) members.push(`"iban":"DE${10 + c.below(90)}${10000000 + c.below(9e7)}${c.below(1e6)}"`, '"vat":"19.0"');
  if (c.one_in(3)) members.push('"phone":""');
  if (c.one_in(4)) members.push(`"metadata":${c.pick(kRawMetadata)}`);
  return members;
}

function membersOfV2(c) {
  const items = [];
  for (let left = c.below(3); left >= 0; --left) items.push(`{"sku":"${c.pick(kSkus)}","qty":${1 + c.below(4)},"price":${cents(c)}}`);
  const members = [
    '"v":2', `"amount":{"value":${cents(c)},"currency":"${c.pick(kCurrencies)}"}`,
    `"payer":{"name":${c.pick(kNames)},"country":"${c.pick(kCountries)}","email":"u${c.below(99999)}@example.com"}`,
    `"items":[${items.join(',')}]`, `"note":${c.pick(kNotes)}`,
  ];
  if (c.one_in(2)) members.push(`"metadata":{"raw":${c.pick(kRawMetadata)},"retries":${c.below(3)}}`);
  if (c.one_in(3)) members.push('"voucher":null');
  return members;
}

function membersOfV3(c) {
  const members = [
    '"v":3', `"event":{"id":"${c.hex8()}-${c.hex8()}","at":"${instant(c)}"}`,
    `"money":{"minor":${100 + c.below(900000)},"currency":"${c.pick(kCurrencies)}","exponent":2}`,
    `"parties":[{"name":${c.pick(kNames)}},{"id":"m_${c.below(4000)}"}]`,
    `"risk":{"score":0.${c.below(1000)},"flags":${c.one_in(5) ? '["velocity","geo"]' : '[]'}}`,
  ];
  if (c.one_in(2)) members.push(`"note":${c.pick(kNotes)}`);
  if (c.one_in(4)) members.push(`"tags":["${c.pick(kSources)}",""]`);
  return members;
}

const kVersions = [membersOfV1, membersOfV2, membersOfV3];

function transactionId(c, version) {
  if (version === 0) return `TX-2026-${10000000 + c.below(89999999)}${c.below(1000)}`;
  if (version === 1) return `tx_${c.hex8()}${c.hex8()}`;
  return `${c.hex8()}-${c.hex8().slice(4)}-${c.hex8().slice(4)}-${c.hex8()}${c.hex8().slice(4)}`;
}

const kControls = ['\n', '\n', '\n', '\r\n', '\t', '\u0000', '\u0001', '\u001b', '\u001f'];
const kBadEscapes = ['\\x4', '\\q', '\\u12G4', '\\-', "\\'", '\\ '];

// name → the member as the broken producer writes it
export const kRuins = {
  unquoted: (c, id) => `"transaction_id":${id}`,
  unclosed: (c, id) => `"transaction_id":"${id}`,
  control_character: (c, id) => `"transaction_id":"${broken(c, id, c.pick(kControls))}"`,
  bad_escape: (c, id) => `"transaction_id":"${broken(c, id, c.pick(kBadEscapes))}"`,
  stray_quote: (c, id) => `"transaction_id":"${broken(c, id, '"')}"`,
  truncated: (c, id) => `"transaction_id":"${id.slice(0, c.below(id.length))}`,
};
const kRuinDraw = Object.entries({unquoted: 34, unclosed: 22, control_character: 14, bad_escape: 10, stray_quote: 10, truncated: 10})
  .flatMap(([name, weight]) => Array(weight).fill(name));

function broken(c, id, by) {
  const at = 1 + c.below(id.length - 1);
  return id.slice(0, at) + by + id.slice(at);
}

// transaction_id stands first, last or anywhere between.
function placeFor(c, members) {
  const draw = c.below(3);
  return draw === 0 ? 0 : draw === 1 ? members.length : c.below(members.length + 1);
}

export function validBody(c) {
  const version = c.below(3);
  const members = kVersions[version](c);
  members.splice(placeFor(c, members), 0, `"transaction_id":"${transactionId(c, version)}"`);
  return c.one_in(50) ? odd(c, members) : `{${members.join(',')}}`;
}

// Unusual, but valid: about 2% of all.
function odd(c, members) {
  switch (c.below(6)) {
    case 0: return `{\n  ${members.join(',\n  ')}\n}\n`;
    case 1: return ` {${members.join(' ,\t')} }  `;
    case 2: return `{${members.join(',')}}`.replace(/[\u0080-\uffff]/g, escapeUnit).replace('transaction_id', 'transaction\\u005fid');
    case 3: return `{${members.join(',')},"x_extra":{"a":[1,-0,1e3,{}],"":"","t":true},"memo":""}`;
    case 4: return `{${members.join(',').replace('"transaction_id":"', '"transaction_id" : "\\u0054')}}`;
    default: return `{${members.join(',')},"remark":${c.pick(kTrickyNotes)}}`;
  }
}

const escapeUnit = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;

export function poisonBody(c) {
  const version = c.below(3);
  const members = kVersions[version](c);
  const ruin = c.pick(kRuinDraw);
  const member = kRuins[ruin](c, transactionId(c, version));
  const place = placeFor(c, members);
  if (ruin === 'truncated') {
    return {ruin, body: `{${[...members.slice(0, place), member].join(',')}`};
  }
  members.splice(place, 0, member);
  return {ruin, body: `{${members.join(',')}}`};
}

const kTypes = {orders: ['payment.created', 'payment.authorised', 'payment.captured'], settlements: ['settlement.booked', 'settlement.paid']};

export function entryType(c, key) {
  return c.pick(kTypes[key.split(':')[0]]);
}

export function entrySource(c) {
  return c.one_in(3) ? c.pick(kSources) : '';
}

// Exactly `wanted` of `count` positions, the first among them, every other choice equally likely.
export class Spread {
  constructor(chance, count, wanted) {
    Object.assign(this, {chance, left: count, wanted, first: true});
  }

  next() {
    const hit = this.wanted > 0 && (this.first || this.chance.below(this.left) < this.wanted);
    this.first = false;
    this.left -= 1;
    if (hit) this.wanted -= 1;
    return hit;
  }
}
