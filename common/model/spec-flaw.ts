/** What is wrong with something a user wrote, ready for a person; the rooms at the edges turn it into an error. */
export interface Flaw {
  readonly message: string;
  /** Path of the field, as in `ports[0].published`. */
  readonly field: string;
  readonly hint: string;
}

/** A year: longer durations are typing errors. */
export const DURATION_MAX_MS = 365 * 24 * 3_600_000;

/** The first flaw of a list of questions, asked one after the other. */
export function firstFlaw(...questions: readonly (() => Flaw | undefined)[]): Flaw | undefined {
  for (const ask of questions) {
    const flaw = ask();
    if (flaw !== undefined) return flaw;
  }
  return undefined;
}

/** The first flaw among a list's items. */
export function flawOfEach<T>(
  items: readonly T[],
  ask: (item: T, index: number) => Flaw | undefined,
): Flaw | undefined {
  for (const [index, item] of items.entries()) {
    const flaw = ask(item, index);
    if (flaw !== undefined) return flaw;
  }
  return undefined;
}

/** A whole number within bounds, both of them allowed. */
export function wholeFlaw(value: number, field: string, min: number, max: number): Flaw | undefined {
  if (Number.isInteger(value) && value >= min && value <= max) return undefined;
  return { message: `${value} is out of range`, field, hint: `give a whole number from ${min} to ${max}` };
}

/** A duration in milliseconds of at most a year. */
export function durationFlaw(ms: number, field: string, minMs: number): Flaw | undefined {
  if (Number.isInteger(ms) && ms >= minMs && ms <= DURATION_MAX_MS) return undefined;
  return { message: `duration of ${ms} ms is out of range`, field, hint: `give from ${minMs} ms to 365 days` };
}

/** Text that may not hold NUL and may not be longer than `maxBytes` of UTF-8. */
export function textFlaw(text: string, field: string, maxBytes: number): Flaw | undefined {
  if (text.includes('\0')) {
    return {
      message: 'text holds a NUL character',
      field,
      hint: 'remove the NUL character: no program could read past it',
    };
  }
  const bytes = utf8Length(text);
  if (bytes <= maxBytes) return undefined;
  return { message: `text of ${bytes} bytes is too long`, field, hint: `use at most ${maxBytes} bytes` };
}

/** Bytes of a text in UTF-8, without making them. */
export function utf8Length(text: string): number {
  let bytes = 0;
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}
