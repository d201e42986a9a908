/** The keys that let a command go on alone: a sequence in what is typed. Pure but for what it has seen so far. */
import { ClusterError } from '../common/errors.ts';

/** Docker's. */
export const DETACH_KEYS = 'ctrl-p,ctrl-q';

/** The bytes of `a,ctrl-b,…`; Docker's words. @throws ClusterError `invalid` */
export function parseDetachKeys(text: string): Uint8Array {
  return Uint8Array.from(text.split(',').map(keyOf));
}

function keyOf(word: string): number {
  if (/^[\x21-\x7e]$/.test(word)) return word.charCodeAt(0);
  const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(word)?.[1];
  if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f;
  throw new ClusterError('invalid', `"${word}" is no key`, {
    field: '--detach-keys',
    hint: 'a character, or ctrl- and one of a-z @ [ \\ ] ^ _, joined by commas',
  });
}

export interface Typed {
  /** What goes on to the command. A begun sequence is held back until it is another. */
  readonly bytes: Uint8Array;
  /** The whole sequence was typed; what came after it is dropped. */
  readonly isDetached: boolean;
}

export class DetachKeys {
  readonly #keys: Uint8Array;
  #matched = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  type(bytes: Uint8Array): Typed {
    const passed: number[] = [];
    for (const byte of bytes) {
      this.#step(byte, passed);
      if (this.#matched === this.#keys.length) return { bytes: Uint8Array.from(passed), isDetached: true };
    }
    return { bytes: Uint8Array.from(passed), isDetached: false };
  }

  /** The longest end of what was held and `byte` that begins the sequence stays; the rest goes on. */
  #step(byte: number, passed: number[]): void {
    if (this.#matched === 0 && byte !== this.#keys[0]) {
      passed.push(byte);
      return;
    }
    const held = [...this.#keys.subarray(0, this.#matched), byte];
    let from = 0;
    while (from < held.length && !held.slice(from).every((key, index) => key === this.#keys[index])) from += 1;
    passed.push(...held.slice(0, from));
    this.#matched = held.length - from;
  }
}
