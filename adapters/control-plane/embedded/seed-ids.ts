/** The ids of the reference's development seed (wire contract 1.8), kept so that its clients find us as they found it. */
export const seedIds = {
  tenant: "ten_01JFVX0000000000000000001",
  project: "prj_01JFVX0000000000000000001",
  key: "key_01JFVX0000000000000000001",
} as const;
