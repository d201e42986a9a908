/** What a registry asks for when it says 401. Source: RFC 9110, 11.6.1; distribution, docs/spec/auth/token.md. */

export type Challenge =
  | { readonly scheme: 'basic' }
  /** `realm` is the URL of a token server, as the registry says it. */
  | { readonly scheme: 'bearer'; readonly realm: string; readonly service: string; readonly scope: string };

/** A token or quoted string after a parameter's name; commas in quotes belong to the value. */
const PARAMETER = /([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g;

/**
 * Reads the values of all `WWW-Authenticate` headers. A token is preferred to a password where both are offered; undefined
 * when nothing is that is understood.
 */
export function chooseChallenge(headers: readonly string[]): Challenge | undefined {
  let basic: Challenge | undefined;
  for (const header of headers) {
    const scheme = /^\s*([A-Za-z]+)(?:\s|$)/.exec(header)?.[1]?.toLowerCase();
    if (scheme === 'basic') basic = { scheme };
    if (scheme !== 'bearer') continue;
    const values = parameters(header);
    const realm = values.get('realm');
    if (realm !== undefined && realm !== '')
      return { scheme, realm, service: values.get('service') ?? '', scope: values.get('scope') ?? '' };
  }
  return basic;
}

function parameters(header: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const [, name = '', quoted, plain] of header.matchAll(PARAMETER))
    values.set(name.toLowerCase(), quoted === undefined ? (plain ?? '') : quoted.replace(/\\(.)/g, '$1'));
  return values;
}

/**
 * The query of a token request: what is needed, and what the challenge names besides. A scope that both name is asked for with the
 * rights of both.
 * @param needed  as `repository:web:pull,push`
 */
export function tokenQuery(challenge: Challenge & { readonly scheme: 'bearer' }, needed: readonly string[]): string {
  const rights = new Map<string, Set<string>>();
  for (const scope of [...needed, ...challenge.scope.split(' ').filter((each) => each !== '')]) {
    const colon = scope.lastIndexOf(':');
    const resource = colon === -1 ? scope : scope.slice(0, colon);
    const known = rights.get(resource) ?? new Set();
    for (const right of colon === -1 ? [] : scope.slice(colon + 1).split(',')) known.add(right);
    rights.set(resource, known);
  }
  const query = new URLSearchParams();
  if (challenge.service !== '') query.set('service', challenge.service);
  for (const [resource, known] of rights)
    query.append('scope', known.size === 0 ? resource : `${resource}:${[...known].join(',')}`);
  return query.toString();
}
