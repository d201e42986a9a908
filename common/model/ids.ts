/** Branded identifiers of the domain. A brand costs nothing at run time; it keeps a node's id out of a task's place. */

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** 25 characters `[0-9a-z]`, random, made by whoever commits the service first. */
export type ServiceId = Branded<'service'>;
/** 25 characters `[0-9a-z]`, random; also the id of the task's one container. */
export type TaskId = Branded<'task'>;
/** 25 characters `[0-9a-z]`, random, made by the CA when the node joins; the certificate's common name. */
export type NodeId = Branded<'node'>;
/** 25 characters `[0-9a-z]`, random, made by a manager when it is first started on its directory. */
export type ManagerId = Branded<'manager'>;
/** `sha256:` and 64 lower-case hexadecimal digits. Source: OCI image-spec, descriptor.md, "Digests". */
export type Digest = Branded<'digest'>;

/** Milliseconds since 1970-01-01T00:00:00Z by the clock of the writer. */
export type Instant = number;
/** etcd's revision numbers: `mod_revision` of a key or the store's revision. */
export type Revision = number;

/** The length of every id that is not a digest. */
export const ID_LENGTH = 25;

/** True for text in the shape of an id, whole and not a prefix. */
export function isId(text: string): boolean {
  return text.length === ID_LENGTH && /^[0-9a-z]+$/.test(text);
}

/** True for a well-formed sha256 digest. */
export function isDigest(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}
