/** `build --secret`: what commands are shown in memory. Source: docker buildx build, "--secret". */
import { readFileSync, statSync } from 'node:fs';
import { ClusterError, messageOf } from '../../common/errors.ts';

/** Source: BuildKit, session/secrets/secretsprovider. */
const SECRET_BYTES_MAX = 500 * 1024;
const FIELDS = ['id', 'src', 'source', 'env', 'type'];

/**
 * Values by id. `id=NAME,src=FILE`; `id=NAME,env=VARIABLE`, also as `type=env,id=NAME,src=VARIABLE`; `id=NAME`: the variable of that name,
 * else the file.
 *
 * @throws ClusterError `invalid` naming what is not there
 */
export function secretsOf(texts: readonly string[], variables: NodeJS.ProcessEnv): Record<string, Uint8Array> {
  const found: Record<string, Uint8Array> = {};
  for (const text of texts) {
    const fields = new Map(text.split(',').map(fieldOf));
    const id = fields.get('id') ?? '';
    if (id === '') throw wrong(`"${text}" names no secret`);
    const unknown = [...fields.keys()].find((key) => !FIELDS.includes(key));
    if (unknown !== undefined) throw wrong(`"${unknown}" means nothing in "${text}"`);
    found[id] = secretOf(id, fields, variables);
  }
  return found;
}

function fieldOf(part: string): readonly [string, string] {
  const at = part.indexOf('=');
  return at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)];
}

function secretOf(id: string, fields: ReadonlyMap<string, string>, variables: NodeJS.ProcessEnv): Uint8Array {
  const type = fields.get('type');
  if (type !== undefined && type !== 'env' && type !== 'file')
    throw wrong(`secret "${id}" is of an unknown type, ${type}`);
  const source = fields.get('src') ?? fields.get('source');
  const variable = fields.get('env') ?? (type === 'env' ? (source ?? id) : undefined);
  if (variable !== undefined) {
    const value = variables[variable];
    if (value === undefined) throw wrong(`secret "${id}": the variable ${variable} is not set`);
    return proved(id, Buffer.from(value));
  }
  const own = type === undefined && source === undefined ? variables[id] : undefined;
  return own === undefined ? fileAt(id, source ?? id) : proved(id, Buffer.from(own));
}

function fileAt(id: string, path: string): Uint8Array {
  try {
    // A pipe has no size, and ends with what is written into it.
    const { size } = statSync(path);
    return proved(id, size > SECRET_BYTES_MAX ? Buffer.alloc(SECRET_BYTES_MAX + 1) : readFileSync(path));
  } catch (cause) {
    if (cause instanceof ClusterError) throw cause;
    throw wrong(`secret "${id}" cannot be read: ${messageOf(cause)}`);
  }
}

function proved(id: string, value: Uint8Array): Uint8Array {
  if (value.length <= SECRET_BYTES_MAX) return value;
  throw wrong(`secret "${id}" has more than ${SECRET_BYTES_MAX} bytes`);
}

function wrong(why: string): ClusterError {
  return new ClusterError('invalid', why, {
    field: '--secret',
    hint: 'write id=NAME,src=FILE or id=NAME,env=VARIABLE',
  });
}
