// Instructions that the hollow copy turns into moves, and, after the label, ones that it leaves.
    fmla v0.4s, v1.4s, v2.4s
    fmls v3.2s, v4.2s, v5.2s
    fmla v6.2d, v7.2d, v8.2d
    fmla v9.8h, v10.8h, v11.8h
    fmls v12.4h, v13.4h, v14.4h
    fadd v15.8h, v16.8h, v17.8h
    fsub v18.8h, v19.8h, v20.8h
    fmul v21.8h, v22.8h, v23.8h
    fdiv v24.8h, v25.8h, v26.8h
    fmax v27.8h, v28.8h, v29.8h
    fmin v30.8h, v31.8h, v0.8h
    fmaxnm v1.8h, v2.8h, v3.8h
    fminnm v4.8h, v5.8h, v6.8h
    fmla v7.4s, v8.4s, v9.s[3]
    fmls v10.2s, v11.2s, v12.s[1]
    fmla v13.2d, v14.2d, v15.d[1]
    fmla v16.8h, v17.8h, v1.h[7]
    fmls v18.4h, v19.4h, v2.h[1]
    fmul v20.8h, v21.8h, v3.h[5]
    sdot v22.4s, v23.16b, v24.16b
    sdot v25.2s, v26.8b, v27.4b[2]
    smmla v28.4s, v29.16b, v30.16b
kept:
    fmadd s0, s1, s2, s3
    fmla s4, s5, v6.s[1]
    fmul v7.4s, v8.4s, v9.4s
    fadd v10.2d, v11.2d, v12.2d
    fcmgt v13.8h, v14.8h, v15.8h
    fcvtns v16.4s, v17.4s
    fmulx v18.8h, v19.8h, v20.8h
    faddp v21.8h, v22.8h, v23.8h
    frecps v24.8h, v25.8h, v26.8h
    mla v27.4s, v28.4s, v29.4s
    smlal v30.4s, v31.4h, v0.4h
    udot v1.4s, v2.16b, v3.16b
    tbl v4.16b, {v5.16b}, v6.16b
    add v7.4s, v8.4s, v9.4s
    ldr q0, [x0], #16
    ret
