/** The part of Docker's templates that `inspect --format` is asked for: `{{.State.Status}}` and `{{json .Config.Env}}`. Pure. */
import { ClusterError } from '../../common/errors.ts';

/** The template with each placeholder replaced. @throws ClusterError `invalid` for one that names nothing, or is none */
export function filled(template: string, object: object): string {
  return template
    .replaceAll('\\t', '\t')
    .replaceAll('\\n', '\n')
    .replace(/\{\{\s*(.*?)\s*\}\}/g, (_, inside: string) => {
      const [, json, path] = /^(json\s+)?\.([A-Za-z0-9_.]*)$/.exec(inside) ?? [];
      if (path === undefined) throw unknown(inside);
      const value = path
        .split('.')
        .reduce<unknown>((from, key) => (key === '' ? from : member(from, key, inside)), object);
      return json === undefined && typeof value !== 'object' ? String(value) : JSON.stringify(value);
    });
}

function member(from: unknown, key: string, inside: string): unknown {
  if (typeof from === 'object' && from !== null && Object.hasOwn(from, key))
    return (from as Record<string, unknown>)[key];
  throw unknown(inside);
}

function unknown(inside: string): ClusterError {
  return new ClusterError('invalid', `unknown placeholder {{${inside}}}`, {
    field: '--format',
    hint: 'use json, or names of what inspect shows: {{.State.Status}}, {{json .Config}}',
  });
}
