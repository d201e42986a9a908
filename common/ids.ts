/** Makes random ids. Apart from the model so that the model needs no randomness. */
import { randomBytes } from 'node:crypto';
import { ID_LENGTH } from './model/ids.ts';

/** 25 characters `[0-9a-z]` from 17 random bytes (129 bits); the caller brands it. */
export function newId<Id extends string>(): Id {
  let rest = BigInt(`0x${randomBytes(17).toString('hex')}`);
  let text = '';
  while (text.length < ID_LENGTH) {
    text = (rest % 36n).toString(36) + text;
    rest /= 36n;
  }
  return text as Id;
}
