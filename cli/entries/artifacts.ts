/** `stateplane/artifacts`: where long results are kept, in a folder or in S3-compatible storage. */
export { createArtifactFolder } from "../../adapters/artifacts/folder.ts";
export { createS3Artifacts } from "../../adapters/artifacts/s3.ts";
