/** Image references as users write them. */
import { ClusterError } from '../errors.ts';
import { type Digest, isDigest } from '../model/ids.ts';

export interface Reference {
  /** `NAME:TAG`, the key of the image in the cluster. */
  readonly reference: string;
  /** With registry host and path, where there are any. */
  readonly name: string;
  readonly tag: string;
  /** What the user pinned it to. */
  readonly digest?: Digest;
}

/** Docker's bounds. Source: distribution/reference, `NameTotalLengthMax`. */
const NAME_MAX = 255;
const PART = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const HOST =
  '(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]{1,5})?';
const NAME_SHAPE = new RegExp(`^(?:${HOST}/)?${PART}(?:/${PART})*$`);
const TAG_SHAPE = /^\w[\w.-]{0,127}$/;

/**
 * Reads `NAME[:TAG][@sha256:…]`. Without a tag it is `latest`; Docker Hub's own host and its `library/` are left out, so
 * that `web:1` and `docker.io/library/web:1` are one image. Other hosts stay part of the name.
 *
 * @throws ClusterError `invalid` with the field `image`
 * Source: distribution/reference, reference.go (grammar) and normalize.go.
 */
export function parseReference(text: string): Reference {
  const wrong = (why: string): ClusterError =>
    new ClusterError('invalid', `image reference "${text.slice(0, 300)}" ${why}`, {
      field: 'image',
      hint: 'write NAME[:TAG], in lower case, for instance web:1',
    });
  const at = text.indexOf('@');
  const digest = at === -1 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) throw wrong('has a malformed digest');
  const rest = at === -1 ? text : text.slice(0, at);
  const colon = rest.lastIndexOf(':');
  const hasTag = colon > rest.lastIndexOf('/');
  const tag = hasTag ? rest.slice(colon + 1) : 'latest';
  const name = familiar(hasTag ? rest.slice(0, colon) : rest);
  if (name === '') throw wrong('has no name');
  if (name.length > NAME_MAX) throw wrong(`has a name longer than ${NAME_MAX} characters`);
  if (!NAME_SHAPE.test(name)) throw wrong(/[A-Z]/.test(name) ? 'has capitals in its name' : 'has a malformed name');
  if (!TAG_SHAPE.test(tag)) throw wrong(`has a malformed tag "${tag.slice(0, 128)}"`);
  return { reference: `${name}:${tag}`, name, tag, ...(digest === undefined ? {} : { digest }) };
}

/** Reads `NAME`, of which all tags are meant. @throws ClusterError `invalid` with the field `image`, for one with a tag or digest too */
export function bareName(text: string): string {
  const { name } = parseReference(text);
  if (text.lastIndexOf(':') <= text.lastIndexOf('/')) return name;
  // Docker's words.
  throw new ClusterError('invalid', `tag can't be used with --all-tags/-a`, {
    field: 'image',
    hint: `"${text.slice(0, 300)}" names one image; give the name alone`,
  });
}

function familiar(name: string): string {
  const bare = /^(?:index\.)?docker\.io\/(.+)$/.exec(name)?.[1];
  if (bare === undefined) return name;
  const parts = bare.split('/');
  // A name of Docker Hub whose first part would be read as a host keeps its own.
  if (parts.length > 1 && /[.:]|^localhost$/.test(parts[0] as string)) return `docker.io/${bare}`;
  return parts.length === 2 && parts[0] === 'library' ? (parts[1] as string) : bare;
}
