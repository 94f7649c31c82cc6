// What the generators wrote, message by message: the ground truth that the agent never sees.

import {poisonBody, validBody} from './messages.mjs';
import {MultisetDigest, checkPayment, sha256} from './shape.mjs';

// Draws a message and proves that it is what it claims to be.
export function draw(chance, isPoison) {
  if (!isPoison) {
    const body = validBody(chance);
    checkPayment(JSON.parse(body));
    return {body};
  }
  const poison = poisonBody(chance);
  if (parses(poison.body)) throw new Error(`poison (${poison.ruin}) that JSON.parse accepts: ${poison.body}`);
  return poison;
}

function parses(body) {
  try {
    JSON.parse(body);
    return true;
  } catch {
    return false;
  }
}

export class Ledger {
  constructor(queue) {
    this.queue = queue;
    this.all = new MultisetDigest();
    this.poisonDigest = new MultisetDigest();
    this.poison = [];
    this.ruins = {};
    this.bytes = 0;
  }

  note(where, content, message) {
    const digest = sha256(content);
    this.all.add(digest);
    this.bytes += message.body.length;
    if (!message.ruin) return;
    this.poisonDigest.add(digest);
    this.ruins[message.ruin] = (this.ruins[message.ruin] ?? 0) + 1;
    this.poison.push({...where, kind: message.ruin, content_sha256: digest.toString('hex'), body_sha256: sha256(message.body).toString('hex')});
  }

  toJSON() {
    const {key, kind, count} = this.queue;
    return {key, kind, count, digest: this.all, poison_digest: this.poisonDigest, ruins: this.ruins, poison: this.poison};
  }
}
