/**
 * The conversions' smallest parts: one field of a message into one field of the model. In goes what a peer or a stored
 * value says, out comes what the type promises, or an error that names the field. Absent means protobuf's default.
 */
import { ClusterError } from '../errors.ts';
import type { Labels } from '../model/service.ts';

/** What protobuf gives for a field: with null semantics an absent optional one is null. */
export type Field<T> = T | null | undefined;

/**
 * A whole number.
 * @throws ClusterError `invalid` beyond 2^53, where int64 loses digits
 */
export function integer(value: Field<number>, field: string): number {
  const number = value ?? 0;
  if (Number.isSafeInteger(number)) return number;
  throw new ClusterError('invalid', `${field} is ${number}, which is no whole number within 2^53`, { field });
}

/** Whole numbers, in their order. */
export function integers(values: Field<readonly number[]>, field: string): readonly number[] {
  return (values ?? []).map((value, index) => integer(value, `${field}[${index}]`));
}

/**
 * One word of a fixed set.
 * @throws ClusterError `invalid` naming the words there are
 */
export function oneOf<Word extends string>(value: Field<string>, words: readonly Word[], field: string): Word {
  const word = words.find((candidate) => candidate === (value ?? ''));
  if (word !== undefined) return word;
  throw new ClusterError('invalid', `${field} is "${value ?? ''}"`, { field, hint: `use ${words.join(', ')}` });
}

/** Text that may be empty; ids and digests get their brand here. Their shape is the validation rules' business. */
export function text<T extends string = string>(value: Field<string>): T {
  return (value ?? '') as T;
}

/** A message within a message that must be there. @throws ClusterError `invalid` when it is not */
export function present<T>(value: Field<T>, field: string): T {
  if (value !== null && value !== undefined) return value;
  throw new ClusterError('invalid', `${field} is missing`, { field });
}

/** `{ [name]: convert(value) }`, or nothing at all when the field is absent: absent stays apart from empty. */
export function maybe<Name extends string, T, U>(
  name: Name,
  value: Field<T>,
  convert: (value: T, field: string) => U,
): { readonly [N in Name]?: U } {
  if (value === null || value === undefined) return {};
  return { [name]: convert(value, name) } as { readonly [N in Name]?: U };
}

/** Labels as the model has them. */
export function labels(value: Field<Labels>): Labels {
  return { ...(value ?? {}) };
}

/** Runs `convert` and puts `prefix` before the field that an error names. */
export function within<T>(prefix: string, convert: () => T): T {
  try {
    return convert();
  } catch (cause) {
    if (!(cause instanceof ClusterError) || cause.field === undefined) throw cause;
    throw new ClusterError(cause.code, cause.message, {
      field: `${prefix}.${cause.field}`,
      ...(cause.hint === undefined ? {} : { hint: cause.hint }),
      cause,
    });
  }
}
