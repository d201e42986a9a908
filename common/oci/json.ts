/** Foreign JSON of images, read field by field with errors that name document and field. */
import { ClusterError } from '../errors.ts';
import { type Digest, isDigest } from '../model/ids.ts';

/** A longer text is no tag, path or variable anyone wrote. */
const TEXT_MAX = 64 * 1024;

/** One value of a JSON document and where it stands. `null` counts as absent, as in Go's JSON, which writes these files. */
export class ImageJson {
  readonly #value: unknown;
  readonly #name: string;
  readonly #path: string;

  private constructor(value: unknown, name: string, path: string) {
    this.#value = value;
    this.#name = name;
    this.#path = path;
  }

  /** @throws ClusterError `invalid` when `text` is no JSON object or array */
  static parse(text: string, name: string): ImageJson {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new ClusterError('invalid', `${name} is not JSON`, { hint: 'export the image again', cause });
    }
    const root = new ImageJson(value, name, '');
    if (typeof value !== 'object' || value === null) throw root.wrong('', 'is neither an object nor a list');
    return root;
  }

  /** The error for a field of this object. */
  wrong(field: string, why: string): ClusterError {
    const where = this.#at(field);
    return new ClusterError('invalid', `${this.#name} is malformed: ${where === '' ? 'it' : where} ${why}`, {
      hint: 'export the image again with a current tool',
      ...(where === '' ? {} : { field: where }),
    });
  }

  has(field: string): boolean {
    const value = this.#own(field);
    return value !== undefined && value !== null;
  }

  object(field: string): ImageJson {
    const value = this.#own(field);
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw this.wrong(field, 'is not an object');
    return new ImageJson(value, this.#name, this.#at(field));
  }

  /** An object without fields, in place of one that is absent. */
  empty(field: string): ImageJson {
    return new ImageJson({}, this.#name, this.#at(field));
  }

  list(field: string, max: number): readonly ImageJson[] {
    return this.#items(this.#own(field), field, max);
  }

  /** This value itself as a list. */
  asList(max: number): readonly ImageJson[] {
    return this.#items(this.#value, '', max);
  }

  asText(): string {
    return this.#text(this.#value, '');
  }

  text(field: string, standard?: string): string {
    if (standard !== undefined && !this.has(field)) return standard;
    return this.#text(this.#own(field), field);
  }

  /** A whole number >= 0. */
  number(field: string, standard?: number): number {
    if (standard !== undefined && !this.has(field)) return standard;
    const value = this.#own(field);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
      throw this.wrong(field, 'is not a whole number');
    }
    return value;
  }

  /** False when absent. */
  flag(field: string): boolean {
    if (!this.has(field)) return false;
    const value = this.#own(field);
    if (typeof value !== 'boolean') throw this.wrong(field, 'is neither true nor false');
    return value;
  }

  /** This value itself, or a field of it, as a sha256 digest. */
  digest(field = ''): Digest {
    const text = field === '' ? this.asText() : this.text(field);
    if (!isDigest(text)) throw this.wrong(field, `"${text.slice(0, 100)}" is not a sha256 digest`);
    return text;
  }

  keys(): readonly string[] {
    return Object.keys(this.#value as object);
  }

  /** All fields as texts. */
  texts(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.keys().map((key) => [key, this.text(key)]));
  }

  #own(field: string): unknown {
    const value = this.#value;
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, field)) return undefined;
    return (value as Record<string, unknown>)[field];
  }

  #items(value: unknown, field: string, max: number): readonly ImageJson[] {
    if (!Array.isArray(value)) throw this.wrong(field, 'is not a list');
    if (value.length > max) throw this.wrong(field, `has ${value.length} entries, more than ${max}`);
    return value.map((each: unknown, index) => new ImageJson(each, this.#name, `${this.#at(field)}[${index}]`));
  }

  #text(value: unknown, field: string): string {
    if (typeof value !== 'string') throw this.wrong(field, 'is not text');
    if (value.length > TEXT_MAX) throw this.wrong(field, `is longer than ${TEXT_MAX} characters`);
    if (value.includes('\0')) throw this.wrong(field, 'contains a NUL');
    return value;
  }

  #at(field: string): string {
    if (field === '') return this.#path;
    return this.#path === '' ? field : `${this.#path}.${field}`;
  }
}
